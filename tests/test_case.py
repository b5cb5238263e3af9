"""Cases: ``map``, and what a case tells of itself."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.conformance.helpers import receivers_parked

from gochan import Case, Channel, ChannelClosed, Event, Group, Selectable, receive, receive_ok, select, send, try_select


def filled(*values: Any) -> Channel[Any]:
    channel = Channel[Any](len(values))
    for value in values:
        channel.send_nowait(value)
    return channel


async def test_map_changes_the_value() -> None:
    """Of any kind of case, as often as one likes, and it is a case again."""
    event = Event()
    event.set()
    assert try_select(receive(filled(2)).map(str)) == (0, "2")
    assert try_select(receive_ok(filled(2)).map(lambda pair: pair[1])) == (0, True)
    assert try_select(send(Channel[int](1), 1).map(lambda nothing: nothing is None)) == (0, True)
    assert try_select(event.__case__().map(lambda _: "set")) == (0, "set")
    assert await select(receive(filled(2)).map(lambda n: n + 1).map(lambda n: n * 10)) == (0, 30)
    assert isinstance(receive(filled(2)).map(str), Case)


async def test_the_function_runs_once_for_the_chosen_case_only() -> None:
    """Not when the case loses, not when nothing is ready, not before the commit."""
    channel, calls = filled(1, 2), list[Any]()

    def note(name: str) -> Any:
        return lambda value: calls.append((name, value, len(channel)))

    loser = receive(Channel[int]()).map(note("loser"))
    assert try_select(loser) is None
    await select(loser, receive(channel).map(note("winner")))
    assert calls == [("winner", 1, 1)]


@pytest.mark.parametrize("waiting", [False, True], ids=["ready", "waiting"])
async def test_an_exception_of_the_function_leaves_the_operation_done(waiting: bool) -> None:
    """It comes out of the select as it is; the value has been taken, or sent."""
    source, target = Channel[int](1), Channel[int](1)

    def fail(_: Any) -> Any:
        raise ZeroDivisionError

    with anyio.fail_after(20):
        async with Group() as group:

            async def selecting(case: Case[Any]) -> None:
                with pytest.raises(ZeroDivisionError):
                    await select(case)

            if not waiting:
                source.send_nowait(1)
            group.go(selecting, receive(source).map(fail))
            if waiting:
                await receivers_parked(source)
                source.send_nowait(1)
            group.go(selecting, send(target, 2).map(fail))
    assert (source.statistics().received, len(source)) == (1, 0)
    assert target.receive_nowait() == 2


async def test_a_function_may_use_the_channels_itself() -> None:
    """It runs after the commit, so nothing is half done when it selects, sends and closes."""
    first, second = filled(1, 2), filled(3)

    def greedy(value: int) -> Any:
        rest = [try_select(first), try_select(second)]
        first.close()
        second.send_nowait(9)
        return value, rest

    assert await select(receive(first).map(greedy)) == (0, (1, [(0, 2), (0, 3)]))
    first._state._check()
    assert second.receive_nowait() == 9


async def test_a_closed_channel_is_not_mapped() -> None:
    """``ChannelClosed`` comes out; the function, which would have to know it, is not called."""
    channel = Channel[int]()
    channel.close()
    with pytest.raises(ChannelClosed):
        await select(receive(channel).map(lambda _: pytest.fail("called")))


def test_map_takes_a_callable() -> None:
    """Said at once, not when the case is chosen."""
    with pytest.raises(TypeError, match="plain function"):
        receive(Channel[int]()).map(3)  # type: ignore[arg-type]


def test_cases_say_what_they_are_of() -> None:
    """Kind and channel."""
    channel = Channel[int](1, name="jobs")
    for case in (receive(channel), send(channel, 1), receive_ok(channel), receive(channel).map(str)):
        assert "jobs" in repr(case)
        assert "Case" in repr(case) or "Mapped" in repr(case)


def test_what_is_selectable() -> None:
    """The protocol can be asked for at run time."""
    channel = Channel[int]()
    for thing in (channel, Event(), send(channel, 1), receive(channel)):
        assert isinstance(thing, Selectable)
    for thing in (3, None, "channel", object()):
        assert not isinstance(thing, Selectable)
