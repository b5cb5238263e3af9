"""Checked, never run: what timers, tickers and sleep give."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Literal, assert_never, assert_type

from gochan import Case, Channel, Selectable, Ticker, Timer, after, receive, select, sleep, try_select


async def timers(timer: Timer) -> None:
    assert_type(after(1), Timer)
    assert_type(Timer(0.5), Timer)
    assert_type(await timer.wait(), float)
    assert_type(timer.stop(), bool)
    assert_type(timer.reset(3), bool)
    assert_type(timer.__case__(), Case[float])
    assert_type(await sleep(1), None)


async def tickers(ticker: Ticker) -> None:
    assert_type(await ticker.wait(), float)
    assert_type(ticker.stop(), None)
    assert_type(ticker.reset(3), None)
    async for tick in ticker:
        assert_type(tick, float)
    ticks: AsyncIterable[float] = ticker
    assert_type([tick async for tick in ticks], list[float])
    assert_type(ticker.__case__(), Case[float])


async def selects(jobs: Channel[str], timer: Timer, ticker: Ticker | None) -> None:
    assert_type(await select(after(1)), tuple[Literal[0], float])
    match await select(jobs, after(1), timer, ticker):
        case (0, job):
            assert_type(job, str)
        case (1, due):
            assert_type(due, float)
        case (2, due):
            assert_type(due, float)
        case (3, tick):
            assert_type(tick, float)
        case _ as never:
            assert_never(never)
    assert_type(try_select(timer), tuple[Literal[0], float] | None)
    late: Selectable[float] = after(1)
    assert_type(await select(late.__case__().map(str)), tuple[Literal[0], str])


async def refused(timer: Timer, ticker: Ticker) -> None:
    Timer()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Timer("1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Ticker(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    timer.reset()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await sleep("1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    receive(ticker)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
