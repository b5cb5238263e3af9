"""How long to wait before the next connection, and whether there should be one.

Full jitter: the wait is drawn from 0 to a window that doubles with each failure. After a restart of the server its
clients must not come back all at once, and a wait that only had a random part would still bring them in waves.
Prior art: AWS, "Exponential Backoff And Jitter".
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

LOST: Final = 1006
"""WebSocket's code for a connection that ended without a goodbye."""

# What would happen again: 1000 is the answer to our own goodbye, the rest are errors in what one of us says.
_FATAL: Final = frozenset({1000, 1002, 1003, 1007, 1009})


def comes_back(code: int) -> bool:
    """Whether it makes sense to connect again after a connection that ended with this code."""
    return code not in _FATAL and not 4500 <= code < 4600 and not 400 <= code < 500


@dataclass(slots=True)
class Backoff:
    """The waits between one client's connections."""

    first: float = 0.2
    limit: float = 20.0
    healthy_after: float = 30.0
    """Seconds; a connection that lasted longer makes the next window the first again."""
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next(self, *, lasted: float = 0.0, after: float = 0.0) -> float:
        """Seconds to wait.

        Args:
            lasted: seconds that the connection was up.
            after: seconds that the server asks for; the jitter comes on top, for it tells everybody the same.
        """
        if lasted > self.healthy_after:
            self.failures = 0
        window = min(self.limit, self.first * 2.0 ** min(self.failures, 64))
        self.failures += 1
        return after + self.random.uniform(0, window)
