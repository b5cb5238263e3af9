"""The micro leaks of Go's own tests: one goroutine, one operation that can never be done."""

from __future__ import annotations

from gochan import Channel, Cond, Event, Mutex, RWMutex, WaitGroup, select, send

from .bug import Family, spawn

family = Family("micro")

MANY = 1000
held_by_the_module: Channel[int] = Channel(name="held by the module")


@family.always("NilRecv", "receiver")
async def nil_recv(fixed: bool) -> None:
    """A receive from a nil channel, which here is a case that is None."""
    channel: Channel[int] | None = Channel(1) if fixed else None

    async def receiver() -> None:
        await select(channel)

    spawn(receiver)
    if channel is not None:
        await channel.send(0)


@family.always("NilSend", "sender")
async def nil_send(fixed: bool) -> None:
    """A send to a nil channel."""
    channel: Channel[int] | None = Channel(1) if fixed else None

    async def sender() -> None:
        await select(None if channel is None else send(channel, 0))

    spawn(sender)


@family.always("SelectNoCases", "selector")
async def select_no_cases(fixed: bool) -> None:
    """A select that can never choose."""
    stop = Event()

    async def selector() -> None:
        await (select(stop) if fixed else select())

    spawn(selector)
    stop.set()


@family.always("SelectNoCasesMain", "receiver")
async def select_no_cases_main(fixed: bool) -> None:
    """Main itself waits for ever: that is no leak, its child's wait is one."""
    channel: Channel[int] = Channel()

    async def receiver(channel: Channel[int]) -> None:
        await channel.receive_ok()

    spawn(receiver, channel)
    if fixed:
        channel.close()
    else:
        del channel
        await select()


@family.always("ChanRecv", "receiver")
async def chan_recv(fixed: bool) -> None:
    """A receive from a channel that nobody else has."""

    async def receiver() -> None:
        channel: Channel[int] = Channel()
        if fixed:
            channel.close()
        await channel.receive_ok()

    spawn(receiver)


@family.always("ChanSend", "sender")
async def chan_send(fixed: bool) -> None:
    """A send to a channel that nobody else has."""

    async def sender() -> None:
        await Channel[int](1 if fixed else 0).send(0)

    spawn(sender)


@family.always("Select", "selector")
async def select_of_strangers(fixed: bool) -> None:
    """A select over two channels that nobody else has."""

    async def selector() -> None:
        await select(send(Channel[int](1 if fixed else 0), 0), Channel[int]())

    spawn(selector)


@family.always("WaitGroup", "waiter")
async def wait_group(fixed: bool) -> None:
    """Nobody ever says done."""

    async def waiter() -> None:
        group = WaitGroup()
        group.add()
        if fixed:
            group.done()
        await group.wait()

    spawn(waiter)


async def lock_twice(mutex: Mutex, fixed: bool) -> None:
    await mutex.acquire()
    if fixed:
        mutex.release()
    await mutex.acquire()


@family.always("MutexStack", *["locker"] * MANY)
async def mutex_stack(fixed: bool) -> None:
    """A mutex of the goroutine's own, locked twice, a thousand times over."""

    async def locker() -> None:
        await lock_twice(Mutex(), fixed)

    for _ in range(10 if fixed else MANY):
        spawn(locker)


@family.always("MutexHeap", *["locker"] * MANY)
async def mutex_heap(fixed: bool) -> None:
    """A mutex that its maker gave away, locked twice, a thousand times over."""

    async def maker() -> None:
        mutex = Mutex()

        async def locker() -> None:
            await lock_twice(mutex, fixed)

        spawn(locker)

    for _ in range(10 if fixed else MANY):
        spawn(maker)


@family.always("RWMutexRLock", "reader")
async def rwmutex_rlock(fixed: bool) -> None:
    """A read lock under one's own write lock."""

    async def reader() -> None:
        mutex = RWMutex()
        await mutex.acquire_write()
        if fixed:
            mutex.release_write()
        await mutex.acquire_read()

    spawn(reader)


@family.always("RWMutexLock", "writer")
async def rwmutex_lock(fixed: bool) -> None:
    """A write lock under one's own write lock."""

    async def writer() -> None:
        mutex = RWMutex()
        await mutex.acquire_write()
        if fixed:
            mutex.release_write()
        await mutex.acquire_write()

    spawn(writer)


@family.always("Cond", "waiter")
async def cond(fixed: bool) -> None:
    """Nobody ever signals."""
    condition, ready = Cond(Mutex()), False

    async def waiter() -> None:
        await condition.mutex.acquire()
        while not ready:
            await condition.wait()
        condition.mutex.release()

    spawn(waiter)
    if fixed:
        await condition.mutex.acquire()
        ready = True
        condition.signal()
        condition.mutex.release()


@family.always("Mixed", "sender", "waiter")
async def mixed(fixed: bool) -> None:
    """One waits for the other's end, the other for a receive that comes after it."""

    async def waiter() -> None:
        channel: Channel[int] = Channel(1 if fixed else 0)
        group = WaitGroup()
        group.add()

        async def sender() -> None:
            await channel.send(0)
            group.done()

        spawn(sender)
        await group.wait()
        await channel.receive()

    spawn(waiter)


@family.always("NoLeakGlobal")
async def no_leak_global(fixed: bool) -> None:
    """A channel that a module holds: somebody may yet send, so nothing may be reported."""

    async def receiver() -> None:
        await held_by_the_module.receive()

    spawn(receiver)
    if fixed:
        await held_by_the_module.send(0)
