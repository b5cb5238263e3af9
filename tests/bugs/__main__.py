"""How many of the known bugs the library finds, what it says of their twins, and how many schedules it needs.

python -m tests.bugs [part of a bug's name …]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

from .bug import Bug
from .catalogue import BUGS
from .measure import BACKENDS, MOST_SCHEDULES, REPLAYS, TWIN_SCHEDULES, Backend, explored, is_expected, leaked
from .planted import PLANTED, SOUND
from .planted_beside import PLANTED_BESIDE, SOUND_BESIDE

SEEDS = 5


@dataclass
class Row:
    """What was seen of one bug."""

    bug: Bug
    attempts: int = 0
    found: int = 0
    wrong: int = 0
    """Goroutines were reported, but not those of the bug."""
    schedules: list[int] = field(default_factory=list)
    replays: int = 0
    replayed: int = 0
    alarms: int = 0
    """Of the twin."""

    def note(self, stuck: tuple[str, ...] | None) -> None:
        self.attempts += 1
        if stuck is not None and is_expected(self.bug, stuck):
            self.found += 1
        elif stuck:
            self.wrong += 1

    def __str__(self) -> str:
        how = "find_leaks" if self.bug.deterministic else "explore"
        needed = f"{median(self.schedules):g} (most {max(self.schedules)})" if self.schedules else "-"
        replayed = f"{self.replayed}/{self.replays}" if self.replays else "-"
        verdict = "found" if self.found == self.attempts else "WRONG" if self.wrong else "MISSED"
        twin = "silent" if not self.alarms else f"{self.alarms} FALSE ALARMS"
        return (
            f"{self.bug.name:24} {self.bug.source:20} {how:11} {verdict:7} {self.found}/{self.attempts:<4} "
            f"{needed:>16} {replayed:>9}  {twin}"
        )


def look_at(bug: Bug, backend: Backend, row: Row) -> None:
    if bug.deterministic:
        for seed in (None, *range(1, SEEDS)) if len(bug.stuck) <= 100 else (None,):
            row.note(leaked(bug.program, backend, seed))
    else:
        for seed in range(SEEDS):
            failure = explored(bug.program, backend, seed)
            row.note(failure and failure.stuck)
            if failure is None:
                continue
            row.schedules.append(failure.schedules)
            if seed == 0:
                again = [explored(bug.program, backend, failure.token) for _ in range(REPLAYS)]
                row.replays += REPLAYS
                row.replayed += sum(one is not None and one.stuck == failure.stuck for one in again)
    row.alarms += explored(bug.twin, backend, runs=TWIN_SCHEDULES) is not None
    row.alarms += leaked(bug.twin, backend) != ()


def rows(parts: list[str]) -> Iterator[Row]:
    for bug in BUGS:
        if not parts or any(part.lower() in bug.name.lower() for part in parts):
            row = Row(bug)
            for backend in BACKENDS:
                look_at(bug, backend, row)
            yield row


def look_for_planted() -> bool:
    """Looks for the bugs that are planted; True if all are found, and what is sound passes."""
    numbers: list[int] = []
    for planted in PLANTED:
        failures = [explored(planted.program, backend) for backend in BACKENDS]
        needed = [failure.schedules for failure in failures if failure is not None]
        found = len(needed) == len(BACKENDS)
        numbers += [max(needed)] if found else []
        print(f"{planted.name:24} {'planted':20} {'history':11} {'found' if found else 'MISSED':7} {needed}")
    beside = 0
    for other in PLANTED_BESIDE:
        seen = [other.seen(backend) for backend in BACKENDS]
        beside += None not in seen
        print(f"{other.name:24} {'planted':20} {'counting':11} {'MISSED' if None in seen else 'found':7} {seen[0]}")
    sound = [explored(one.program, backend, runs=TWIN_SCHEDULES) is None for one in SOUND for backend in BACKENDS]
    sound += [one.seen(backend, seed) is None for one in SOUND_BESIDE for backend in BACKENDS for seed in range(SEEDS)]
    planted = len(PLANTED) + len(PLANTED_BESIDE)
    print(
        f"planted: {len(numbers) + beside} of {planted} found; {len(PLANTED)} in the channel, after "
        f"{median(numbers or [0]):g} schedules in the median, {max(numbers, default=0)} at most, and "
        f"{len(PLANTED_BESIDE)} in select and timers; false alarms: {sound.count(False)} of {len(sound)}\n"
    )
    return len(numbers) + beside == planted and all(sound)


def main() -> int:
    began = perf_counter()
    all_found = bool(sys.argv[1:]) or look_for_planted()
    seen: list[Row] = []
    print(f"{'bug':24} {'source':20} {'found by':11} {'':7} {'runs':6} {'schedules needed':>16} {'replayed':>9}  twin")
    for row in rows(sys.argv[1:]):
        print(row, flush=True)
        seen.append(row)
    good = sum(row.found == row.attempts for row in seen)
    needed = [number for row in seen for number in row.schedules]
    print(
        f"\nrecall: {good} of {len(seen)} bugs, in every run on {' and '.join(BACKENDS)}"
        f"\nfalse alarms: {sum(row.alarms for row in seen)} of {len(seen)} twins, {TWIN_SCHEDULES} schedules each"
    )
    if needed:
        print(
            f"schedules needed: {median(needed):g} in the median, {max(needed)} at most, of {MOST_SCHEDULES} allowed; "
            f"replayed {sum(row.replayed for row in seen)} of {sum(row.replays for row in seen)} times"
        )
    print(f"{perf_counter() - began:.0f} s on Python {sys.version.split()[0]}")
    return 0 if all_found and good == len(seen) and not any(row.alarms for row in seen) else 1


if __name__ == "__main__":
    sys.exit(main())
