"""The chat's table of promises with numbers: each row is one test, small in CI, at full size by ``make chat-table``."""
