"""Checked, never run: what `select` gives back, case by case."""

from __future__ import annotations

from typing import Literal, assert_never, assert_type

from gochan import (
    Case,
    Channel,
    Event,
    Goroutine,
    ReceiveChannel,
    Selectable,
    SendChannel,
    Signal,
    receive,
    receive_ok,
    select,
    send,
    try_select,
)


async def one(a: ReceiveChannel[int]) -> None:
    assert_type(await select(a), tuple[Literal[0], int])
    match await select(a):
        case (0, x):
            assert_type(x, int)
        case _ as never:
            assert_never(never)


async def the_plain_spelling(a: ReceiveChannel[int]) -> None:
    match await select(a):
        case (0, _):
            pass
        # pyright's strict mode takes a bare name here for a forgotten case; `_ as never` says the same to both.
        case never:  # pyright: ignore[reportUnnecessaryComparison]
            assert_never(never)


async def two(a: ReceiveChannel[int], b: ReceiveChannel[str]) -> None:
    match await select(a, b):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case _ as never:
            assert_never(never)


async def three(a: ReceiveChannel[int], b: ReceiveChannel[str], c: ReceiveChannel[bytes]) -> None:
    match await select(a, b, c):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case _ as never:
            assert_never(never)


async def four(
    a: ReceiveChannel[int], b: ReceiveChannel[str], c: ReceiveChannel[bytes], d: ReceiveChannel[bool]
) -> None:
    match await select(a, b, c, d):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case (3, w):
            assert_type(w, bool)
        case _ as never:
            assert_never(never)


async def five(
    a: ReceiveChannel[int],
    b: ReceiveChannel[str],
    c: ReceiveChannel[bytes],
    d: ReceiveChannel[bool],
    e: ReceiveChannel[float],
) -> None:
    match await select(a, b, c, d, e):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case (3, w):
            assert_type(w, bool)
        case (4, v):
            assert_type(v, float)
        case _ as never:
            assert_never(never)


async def six(
    a: ReceiveChannel[int],
    b: ReceiveChannel[str],
    c: ReceiveChannel[bytes],
    d: ReceiveChannel[bool],
    e: ReceiveChannel[float],
    f: ReceiveChannel[complex],
) -> None:
    match await select(a, b, c, d, e, f):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case (3, w):
            assert_type(w, bool)
        case (4, v):
            assert_type(v, float)
        case (5, u):
            assert_type(u, complex)
        case _ as never:
            assert_never(never)


async def seven(
    a: ReceiveChannel[int],
    b: ReceiveChannel[str],
    c: ReceiveChannel[bytes],
    d: ReceiveChannel[bool],
    e: ReceiveChannel[float],
    f: ReceiveChannel[complex],
    g: ReceiveChannel[list[int]],
) -> None:
    match await select(a, b, c, d, e, f, g):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case (3, w):
            assert_type(w, bool)
        case (4, v):
            assert_type(v, float)
        case (5, u):
            assert_type(u, complex)
        case (6, t):
            assert_type(t, list[int])
        case _ as never:
            assert_never(never)


async def eight(
    a: ReceiveChannel[int],
    b: ReceiveChannel[str],
    c: ReceiveChannel[bytes],
    d: ReceiveChannel[bool],
    e: ReceiveChannel[float],
    f: ReceiveChannel[complex],
    g: ReceiveChannel[list[int]],
    h: ReceiveChannel[list[str]],
) -> None:
    match await select(a, b, c, d, e, f, g, h):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case (3, w):
            assert_type(w, bool)
        case (4, v):
            assert_type(v, float)
        case (5, u):
            assert_type(u, complex)
        case (6, t):
            assert_type(t, list[int])
        case (7, s):
            assert_type(s, list[str])
        case _ as never:
            assert_never(never)


async def a_forgotten_case_is_found(a: ReceiveChannel[int], b: ReceiveChannel[str]) -> None:
    match await select(a, b):
        case (0, _):
            pass
        case _ as never:
            assert_never(never)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_case_that_is_not_there_is_found(a: ReceiveChannel[int], b: ReceiveChannel[str]) -> None:
    won = await select(a, b)
    if won[0] == 0:
        assert_type(won[1], int)
    else:
        assert_type(won[1], str)


async def nine_and_more(a: ReceiveChannel[int], many: list[ReceiveChannel[str]]) -> None:
    assert_type(await select(a, a, a, a, a, a, a, a, a), tuple[int, int])
    assert_type(await select(*many), tuple[int, str])
    assert_type(try_select(*many), tuple[int, str] | None)
    assert_type(try_select(a, a, a, a, a, a, a, a, a), tuple[int, int] | None)
    index, value = await select(*many)
    assert_type(index, int)
    assert_type(value, str)


async def nil_cases(a: Channel[int], maybe: Channel[str] | None, view: ReceiveChannel[bytes] | None) -> None:
    match await select(a, maybe, view):
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, str)
        case (2, z):
            assert_type(z, bytes)
        case _ as never:
            assert_never(never)
    await select(a, None)  # a literal None is accepted; what it would carry, no checker knows


async def the_example(jobs: ReceiveChannel[int], results: SendChannel[str], done: Signal, value: str) -> None:
    match await select(jobs, send(results, value), done):
        case (0, job):
            assert_type(job, int)
        case (1, sent):
            assert_type(sent, None)
        case (2, _):
            return
        case _ as never:
            assert_never(never)


async def every_selectable(ch: Channel[int], event: Event, signal: Signal, goroutine: Goroutine[bytes]) -> None:
    match await select(ch, event, signal, goroutine, goroutine.done, priority=True):
        case (0, a):
            assert_type(a, int)
        case (1, b) | (2, b) | (4, b):
            assert_type(b, None)
        case (3, c):
            assert_type(c, bytes)
        case _ as never:
            assert_never(never)


async def receive_ok_narrows(ch: ReceiveChannel[int], done: Signal) -> None:
    match await ch.receive_ok():
        case (value, True):
            assert_type(value, int)
        case (nothing, False):
            assert_type(nothing, None)
        case _ as never:
            assert_never(never)
    match await select(receive_ok(ch), done):
        case (0, (value, True)):
            assert_type(value, int)
        case (0, (_, False)):
            return
        case (1, _):
            return
        case _ as never_either:
            assert_never(never_either)


async def maps(ch: ReceiveChannel[int], out: SendChannel[str], event: Event) -> None:
    def word(number: int) -> str:
        return str(number)

    case_of_str: Case[str] = receive(ch).map(word)
    assert_type(case_of_str.map(len), Case[int])
    match await select(receive(ch).map(word), send(out, "x").map(lambda _: b"sent")):
        case (0, x):
            assert_type(x, str)
        case (1, y):
            assert_type(y, bytes)
        case _ as never:
            assert_never(never)
    send(out, "x").map(word)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def try_narrows(a: ReceiveChannel[int], b: SendChannel[str]) -> None:
    match try_select(a, send(b, "x")):
        case None:
            pass
        case (0, x):
            assert_type(x, int)
        case (1, y):
            assert_type(y, None)
        case _ as never:
            assert_never(never)
    match try_select(a, priority=True):
        case (0, x):
            assert_type(x, int)
        case None:
            pass
        case _ as never:
            assert_never(never)


class Inbox:
    """A user's own selectable: it delegates to a channel."""

    def __init__(self, channel: ReceiveChannel[int]) -> None:
        self._channel = channel

    def __case__(self) -> Case[str]:
        return receive(self._channel).map(str)


async def a_selectable_of_the_users_own(inbox: Inbox, other: Selectable[bytes]) -> None:
    match await select(inbox, other):
        case (0, x):
            assert_type(x, str)
        case (1, y):
            assert_type(y, bytes)
        case _ as never:
            assert_never(never)


async def what_is_no_case(out: SendChannel[str]) -> None:
    await select(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await select(out)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    send(out, 1)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
