"""Pipelines: a pool of workers between two channels."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ._callables import refuse_plain
from ._channel_views import ReceiveChannel, SendChannel
from ._errors import ChannelClosed
from ._group import Group

T = TypeVar("T")
R = TypeVar("R")


async def worker_pool(
    fn: Callable[[T], Coroutine[Any, Any, R]],
    jobs: ReceiveChannel[T],
    *,
    workers: int,
    results: SendChannel[R] | None = None,
) -> None:
    """Run ``await fn(job)`` for every job of a channel, in so many goroutines; return when all is done.

    That is when ``jobs`` is closed and drained, and every job has been worked on. A worker takes a job only when it
    is free, and another one only when its result has been accepted, so a full ``results`` slows the pool down.
    Results come in the order in which they are ready.

    ``results`` is closed at the end, however that came: plainly, or with what this raises as the cause; after a
    cancellation plainly.

    Args:
        fn: an async function of one argument.
        jobs: where the jobs come from.
        workers: how many goroutines work, at least 1.
        results: where ``fn``'s results go; ``None`` drops them.

    Raises:
        ExceptionGroup: ``fn`` failed, or somebody closed ``results``; the other workers were cancelled.
        ChannelClosed: ``jobs`` was closed with a cause; all that was in it has been worked on.
        TypeError: ``fn`` is not an async function, or the number of workers not an int.
        ValueError: there is no worker.

    Cancellation: cancels the workers. A job that no worker took is still in ``jobs``; one that was being worked on is
    not put back. The same holds after a failure.
    Fairness: jobs are taken first come, first served.
    Go: the worker pool of the pipelines article, with a WaitGroup that closes the results.

    Example:
        >>> import gochan
        >>> async def square(n: int) -> int:
        ...     return n * n
        >>> async def main() -> None:
        ...     numbers, squares = gochan.Channel[int](3), gochan.Channel[int](3)
        ...     for n in range(3):
        ...         await numbers.send(n)
        ...     numbers.close()
        ...     await gochan.worker_pool(square, numbers, workers=2, results=squares)
        ...     print(sorted([n async for n in squares]))
        >>> gochan.run(main)
        [0, 1, 4]
    """
    refuse_plain(fn, "worker_pool()")
    if not isinstance(cast("object", workers), int) or isinstance(workers, bool):
        raise TypeError(f"the number of workers is an int, not {workers!r}")
    if workers < 1:
        raise ValueError(f"a pool has at least one worker, not {workers}")
    for end, name, method in ((jobs, "jobs", "receive_ok"), (results, "results", "send")):
        if end is not None and not hasattr(end, method):
            raise TypeError(f"{name} is a channel, not {end!r}")
    ends = list[ChannelClosed]()

    async def work() -> None:
        while True:
            try:
                job = await jobs.__anext__()
            except StopAsyncIteration:
                return
            except ChannelClosed as end:
                ends.append(end)
                return
            result = await fn(job)
            del job  # while it waits for the next one, a worker keeps none
            if results is not None:
                await results.send(result)
            del result

    cause: Exception | None = None
    try:
        async with Group() as group:
            for _ in range(workers):
                group.go(work, name=getattr(fn, "__qualname__", None))
        if ends:
            raise ends[0]
    except Exception as error:
        cause = error
        raise
    finally:
        if results is not None:
            results.close(cause)
        del cause  # it would refer to this frame, which its traceback refers to
        ends.clear()


__all__ = ["worker_pool"]
