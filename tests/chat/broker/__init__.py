"""The brokers: one suite for all of them, and what is peculiar to each."""
