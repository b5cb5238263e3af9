"""Shrinking: smaller, still failing, and in a bounded number of tries."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gochan.testing._shrink import shrink

Values = list[int]


def failing(bad: Callable[[Values], bool]) -> Callable[[Values], Values | None]:
    return lambda values: values if bad(values) else None


def test_only_what_matters_is_left() -> None:
    """Two answers out of two hundred, as small and as early as they can be."""
    noise = [3, 1, 0, 2] * 50
    assert shrink(noise, failing(lambda values: sum(value > 0 for value in values) >= 2)) == [1, 1]


def test_places_are_kept_where_they_matter() -> None:
    """What cannot be left out is only made calm."""
    assert shrink([1] * 20, failing(lambda values: values[7:8] == [1])) == [0] * 7 + [1]


def test_answers_are_lowered() -> None:
    """To the smallest that still fails."""
    assert shrink([90], failing(lambda values: sum(values) >= 17)) == [17]


def test_a_failure_that_needs_no_choice_is_the_empty_schedule() -> None:
    """It fails always."""
    assert shrink([1, 2, 3], failing(lambda values: True)) == []


def test_what_cannot_be_made_smaller_stays() -> None:
    """Not even the zeros between."""
    assert shrink([0, 2, 0, 1, 0], failing(lambda values: values == [0, 2, 0, 1])) == [0, 2, 0, 1]


def test_what_the_run_answered_counts() -> None:
    """A wish that leads to another, larger schedule is no progress."""

    assert shrink([1, 1, 1, 1], lambda values: [9] * 9) == [1, 1, 1, 1]
    assert shrink([1, 1, 1, 1], lambda values: [0, 1]) == [0, 1]


def test_simple_schedules_come_first() -> None:
    """From a ledge no single change leads down to them; half of the tries are for what follows."""

    def bad(values: Values) -> bool:
        return values in ([3, 3, 3], [0, 0, 2])

    assert shrink([3, 3, 3], failing(bad)) == [3, 3, 3]
    simple = [[], [1], [0, 1], [0, 0, 1], [0, 0, 2], [0, 0, 3]]
    assert shrink([3, 3, 3], failing(bad), simple=simple) == [0, 0, 2]
    assert shrink([3, 3, 3], failing(bad), tries=8, simple=simple) == [3, 3, 3]


def test_simple_schedules_that_are_no_simpler_are_not_tried() -> None:
    """What was found may be the simplest already."""
    tried: list[Values] = []
    assert shrink([0, 1], lambda values: tried.append(values), simple=[[], [0, 0, 1], [2]]) == [0, 1]
    assert [0, 0, 1] not in tried


@given(values=st.lists(st.integers(0, 4), max_size=60), tries=st.integers(0, 50), modulus=st.integers(1, 5))
def test_the_result_fails_and_the_tries_are_bounded(values: Values, tries: int, modulus: int) -> None:
    """Whatever fails, the result was seen to fail, is no larger, and took no more tries than allowed."""
    seen: list[Values] = []

    def attempt(candidate: Values) -> Values | None:
        seen.append(candidate)
        return candidate if hash(tuple(candidate)) % modulus == 0 else None

    result = shrink(values, attempt, tries)
    assert len(seen) <= tries
    assert len(seen) == len(set(map(tuple, seen)))
    stripped = values.copy()
    while stripped and not stripped[-1]:
        stripped.pop()
    assert result == stripped or (result in seen and sum(map(bool, result)) <= sum(map(bool, stripped)))
