"""Go's benchmarks of `runtime/chan_test.go` and `runtime/proc_test.go`, by Go's names and in their shape with one P.

A workload is timed on any backend. `test_go_names.py` runs them under pytest-benchmark, `suites/go_names.py` in the
table, `go/names.go` has the same in Go.
"""

from __future__ import annotations

from time import thread_time

from gochan import Channel, Group, select, send, try_select

from .harness import Workload


async def make_chan(n: int) -> float:
    start = thread_time()
    for _ in range(n):
        Channel[int](8)
    return thread_time() - start


async def chan_nonblocking(n: int) -> float:
    ch = Channel[int]()
    start = thread_time()
    for _ in range(n):
        try_select(ch)
    return thread_time() - start


async def chan_closed(n: int) -> float:
    ch = Channel[int]()
    ch.close()
    start = thread_time()
    for _ in range(n):
        await ch.receive_ok()
    return thread_time() - start


async def chan_uncontended(n: int) -> float:
    ch = Channel[int](100)
    start = thread_time()
    for _ in range(n // 100):
        for i in range(100):
            await ch.send(i)
        for _ in range(100):
            await ch.receive()
    return thread_time() - start


async def chan_contended(n: int) -> float:
    """Ten goroutines fill and drain one buffer, each a part at a time."""
    ch = Channel[int](100)

    async def work() -> None:
        for _ in range(n // 100):
            for i in range(10):
                await ch.send(i)
            for _ in range(10):
                await ch.receive()

    start = thread_time()
    async with Group() as group:
        for _ in range(10):
            group.go(work)
    return thread_time() - start


def _work(loops: int) -> int:
    """What `localWork` does in Go."""
    foo = 0
    for _ in range(loops):
        foo = foo * 3 // 2 + 1 & 0xFFFF
    return foo


def chan_sync(work: int = 0) -> Workload:
    """A token goes to and fro over one unbuffered channel."""

    async def workload(n: int) -> float:
        ch = Channel[int]()

        async def ping() -> None:
            for _ in range(n // 2):
                await ch.send(0)
                _work(work)
                await ch.receive()

        async def pong() -> None:
            for _ in range(n // 2):
                await ch.receive()
                _work(work)
                await ch.send(0)

        start = thread_time()
        async with Group() as group:
            group.go(ping)
            group.go(pong)
        return thread_time() - start

    return workload


def chan_prod_cons(capacity: int, work: int = 0) -> Workload:
    async def workload(n: int) -> float:
        ch = Channel[int](capacity)

        async def producer() -> None:
            for i in range(n):
                _work(work)
                await ch.send(i)

        async def consumer() -> None:
            for _ in range(n):
                await ch.receive()
                _work(work)

        start = thread_time()
        async with Group() as group:
            group.go(producer)
            group.go(consumer)
        return thread_time() - start

    return workload


async def select_uncontended(n: int) -> float:
    a, b = Channel[int](1), Channel[int](1)
    a.send_nowait(0)
    start = thread_time()
    for _ in range(n):
        match await select(a, b):
            case (0, _):
                await b.send(0)
            case _:
                await a.send(0)
    return thread_time() - start


async def select_sync_contended(n: int) -> float:
    """Two goroutines that send on any of three unbuffered channels, two that receive from any."""
    a, b, c, done = Channel[int](), Channel[int](), Channel[int](), Channel[int]()

    async def sender() -> None:
        for i in range(n // 2):
            await select(send(a, i), send(b, i), send(c, i), done)

    async def receiver() -> None:
        for _ in range(n // 2):
            await select(a, b, c, done)

    start = thread_time()
    async with Group() as group:
        for fn in (sender, receiver) * 2:
            group.go(fn)
    return thread_time() - start


async def select_async_contended(n: int) -> float:
    """Four goroutines; each takes a token of either of two buffered channels and puts it into the other."""
    a, b = Channel[int](4), Channel[int](4)

    async def work() -> None:
        await a.send(0)
        for _ in range(n // 4):
            match await select(a, b):
                case (0, _):
                    await b.send(0)
                case _:
                    await a.send(0)

    start = thread_time()
    async with Group() as group:
        for _ in range(4):
            group.go(work)
    return thread_time() - start


async def select_nonblock(n: int) -> float:
    unbuffered_a, unbuffered_b = Channel[int](), Channel[int]()
    buffered_a, buffered_b = Channel[int](1), Channel[int](1)
    start = thread_time()
    for _ in range(n // 4):
        try_select(unbuffered_a)
        try_select(send(unbuffered_b, 0))
        try_select(buffered_a)
        try_select(send(buffered_b, 0))
    return thread_time() - start


def select_prod_cons(work: int = 0) -> Workload:
    """A producer and a consumer that also look at a time-out and at a channel that closes."""

    async def workload(n: int) -> float:
        ch, timeout, closing = Channel[int](128), Channel[int](), Channel[int]()

        async def producer() -> None:
            for i in range(n):
                _work(work)
                await select(send(ch, i), timeout)

        async def consumer() -> None:
            for _ in range(n):
                await select(ch, timeout, closing)
                _work(work)

        start = thread_time()
        async with Group() as group:
            group.go(producer)
            group.go(consumer)
        return thread_time() - start

    return workload


async def chan_sem(n: int) -> float:
    """A buffered channel as a semaphore: four goroutines put a token in and take one out."""
    done = Channel[int](4)

    async def work() -> None:
        for _ in range(n // 4):
            await done.send(0)
            await done.receive()

    start = thread_time()
    async with Group() as group:
        for _ in range(4):
            group.go(work)
    return thread_time() - start


async def chan_popular(n: int) -> float:
    """A thousand goroutines select over a shared channel and one of their own; an operation is a wake-up."""
    shared = Channel[bool]()
    own = [Channel[bool]() for _ in range(1_000)]
    rounds = max(1, n // 1_000)

    async def waiter(mine: Channel[bool]) -> None:
        for _ in range(rounds):
            await select(shared, mine)

    async with Group() as group:
        for ch in own:
            group.go(waiter, ch)
        start = thread_time()
        for _ in range(rounds):
            for ch in own:
                await ch.send(True)
        seconds = thread_time() - start
    return seconds * n / (rounds * 1_000)


async def create_goroutines(n: int) -> float:
    """A chain: each goroutine makes the next."""
    done = Channel[bool]()

    async with Group() as group:

        async def link(left: int) -> None:
            if left:
                group.go(link, left - 1)
            else:
                await done.send(True)

        start = thread_time()
        group.go(link, n)
        await done.receive()
        return thread_time() - start


async def create_goroutines_single(n: int) -> float:
    """One makes them all and waits for them."""

    async def nothing() -> None:
        pass

    start = thread_time()
    async with Group() as group:
        for _ in range(n):
            group.go(nothing)
    return thread_time() - start


WORK = 100  # loops of work by each side for each value

NAMES: dict[str, Workload] = {
    "MakeChan": make_chan,
    "ChanNonblocking": chan_nonblocking,
    "ChanClosed": chan_closed,
    "ChanUncontended": chan_uncontended,
    "ChanContended": chan_contended,
    "ChanSync": chan_sync(),
    "ChanSyncWork": chan_sync(WORK),
    "ChanProdCons0": chan_prod_cons(0),
    "ChanProdCons10": chan_prod_cons(10),
    "ChanProdCons100": chan_prod_cons(100),
    "ChanProdConsWork0": chan_prod_cons(0, WORK),
    "ChanProdConsWork10": chan_prod_cons(10, WORK),
    "ChanProdConsWork100": chan_prod_cons(100, WORK),
    "SelectUncontended": select_uncontended,
    "SelectSyncContended": select_sync_contended,
    "SelectAsyncContended": select_async_contended,
    "SelectNonblock": select_nonblock,
    "SelectProdCons": select_prod_cons(),
    "SelectProdConsWork": select_prod_cons(WORK),
    "ChanSem": chan_sem,
    "ChanPopular": chan_popular,
    "CreateGoroutines": create_goroutines,
    "CreateGoroutinesSingle": create_goroutines_single,
}
