"""Go's benchmarks of `sync`, `context` and `time`, by Go's names and in their shape with one P. As in `go_names`."""

from __future__ import annotations

from time import thread_time

from gochan import Cond, Context, Group, Mutex, Once, RWMutex, Semaphore, SingleFlight, Timer, WaitGroup, background

from .harness import Workload


async def mutex_uncontended(n: int) -> float:
    mutex = Mutex()
    start = thread_time()
    for _ in range(n):
        await mutex.acquire()
        mutex.release()
    return thread_time() - start


async def mutex_of_ten(n: int) -> float:
    mutex = Mutex()

    async def work() -> None:
        for _ in range(n // 10):
            async with mutex:
                pass

    start = thread_time()
    async with Group() as group:
        for _ in range(10):
            group.go(work)
    return thread_time() - start


async def rwmutex_read(n: int) -> float:
    mutex = RWMutex()
    start = thread_time()
    for _ in range(n):
        await mutex.acquire_read()
        mutex.release_read()
    return thread_time() - start


async def wait_for_nothing(n: int) -> float:
    group = WaitGroup()
    start = thread_time()
    for _ in range(n):
        group.add()
        group.done()
        await group.wait()
    return thread_time() - start


async def once_done(n: int) -> float:
    once = Once()
    start = thread_time()
    for _ in range(n):
        await once.do(int)
    return thread_time() - start


def cond(waiters: int) -> Workload:
    """So many wait in turn, woken by a broadcast of the one before; an operation is a round."""

    async def workload(n: int) -> float:
        mutex, number = Mutex(), 0
        changed = Cond(mutex)

        async def work(me: int) -> None:
            nonlocal number
            while number >= 0:
                async with mutex:
                    while number % (waiters + 1) != me and number >= 0:
                        await changed.wait()
                    if number >= 0:
                        number += 1
                        if number >= n:
                            number = -1
                    changed.broadcast()

        start = thread_time()
        async with Group() as group:
            for me in range(waiters + 1):
                group.go(work, me)
        return thread_time() - start

    return workload


async def semaphore(n: int) -> float:
    places = Semaphore(1)
    start = thread_time()
    for _ in range(n):
        await places.acquire()
        places.release()
    return thread_time() - start


async def single_flight(n: int) -> float:
    flights = SingleFlight[int, int]()
    start = thread_time()
    for i in range(n):
        await flights.do(i, int, 7)
    return thread_time() - start


def cancel_tree(depth: int) -> Workload:
    async def workload(n: int) -> float:
        start = thread_time()
        for _ in range(max(1, n // depth)):
            root = background().with_cancel()
            leaf: Context = root
            for _ in range(depth):
                leaf = leaf.with_cancel()
            root.cancel()
        return thread_time() - start

    return workload


async def common_parent(n: int) -> float:
    with background().with_cancel() as root:
        start = thread_time()
        for _ in range(n):
            root.with_cancel().cancel()
        return thread_time() - start


async def with_timeout(n: int) -> float:
    start = thread_time()
    for _ in range(n):
        background().with_timeout(3600).cancel()
    return thread_time() - start


async def check_cancelled(n: int) -> float:
    ctx = background().with_cancel()
    start = thread_time()
    for _ in range(n):
        if ctx.err is not None:
            raise AssertionError
    return thread_time() - start


async def timers(n: int) -> float:
    start = thread_time()
    for _ in range(n):
        Timer(3600).stop()
    return thread_time() - start


SYNC_NAMES: dict[str, Workload] = {
    "MutexUncontended": mutex_uncontended,
    "Mutex": mutex_of_ten,
    "RWMutexUncontended": rwmutex_read,
    "WaitGroupUncontended": wait_for_nothing,
    "Once": once_done,
    "Cond1": cond(1),
    "Cond8": cond(8),
    "Cond32": cond(32),
    "AcquireSeq": semaphore,
    "SingleFlight": single_flight,
    "CancelTree1": cancel_tree(1),
    "CancelTree10": cancel_tree(10),
    "CancelTree100": cancel_tree(100),
    "CancelTree1000": cancel_tree(1_000),
    "CommonParentCancel": common_parent,
    "WithTimeout": with_timeout,
    "CheckCanceled": check_cancelled,
    "StartStop": timers,
}
