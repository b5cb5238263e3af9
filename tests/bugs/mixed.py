"""GoKer's mixed bugs: a channel operation with a lock held, or a count that is waited for wrongly."""

from __future__ import annotations

from gochan import Channel, Event, Mutex, WaitGroup, select, send, try_select

from .bug import Family, spawn

family = Family("goker mixed")


@family.sometimes("Cockroach/1055", "stop", "work", "work")
async def cockroach_1055(fixed: bool) -> None:
    """To stop, one waits with the lock held for tasks that wait to be told to stop."""
    mutex, tasks = Mutex(), WaitGroup()
    should_stop, draining = Event(), False

    async def work() -> None:
        await mutex.acquire()
        refused = draining
        if not refused:
            tasks.add()
        mutex.release()
        if not refused:
            await should_stop.wait()
            tasks.done()

    async def stop() -> None:
        nonlocal draining
        await mutex.acquire()
        draining = True
        if fixed:
            should_stop.set()
        await tasks.wait()
        mutex.release()
        should_stop.set()

    for start in (work, work, stop):
        spawn(start)


@family.sometimes("Cockroach/1462", "run_worker", "stop")
async def cockroach_1462(fixed: bool) -> None:
    """The consumer was stopped, the producer sends to it, and the stop waits for both."""
    events: Channel[int] = Channel()
    should_stop, workers = Event(), WaitGroup()

    async def run_worker() -> None:
        for event in range(3):
            if try_select(should_stop) is not None:
                break
            if fixed:
                await select(send(events, event), should_stop)
            else:
                await events.send(event)
        workers.done()

    async def process_events() -> None:
        for _ in range(3):
            if (await select(events, should_stop))[0] == 1:
                break
        workers.done()

    async def stop() -> None:
        should_stop.set()
        await workers.wait()

    workers.add(2)
    for start in (run_worker, process_events, stop):
        spawn(start)


@family.sometimes("Etcd/6873", "coalesce", "stop")
async def etcd_6873(fixed: bool) -> None:
    """The stop waits with the lock held for a loop that wants the lock."""
    mutex, done = Mutex(), Event()
    updates: Channel[int] = Channel(1)

    async def coalesce() -> None:
        async for _ in updates:
            await mutex.acquire()
            mutex.release()
        done.set()

    async def stop() -> None:
        await mutex.acquire()
        updates.close()
        if fixed:
            mutex.release()
        await done.wait()
        if not fixed:
            mutex.release()

    await updates.send(1)
    spawn(coalesce)
    spawn(stop)


@family.sometimes("Etcd/7492", "assign", "assign", "keep", "test")
async def etcd_7492(fixed: bool) -> None:
    """A token is added by a message to the keeper, with the lock held that the keeper takes to delete tokens."""
    mutex, group, stop = Mutex(), WaitGroup(), Event()
    added: Channel[bool] = Channel()
    ticker: Channel[None] = Channel(1)

    async def keep() -> None:
        while True:
            match await select(added, ticker, stop):
                case (0, _):
                    pass
                case (1, _):
                    await mutex.acquire()
                    mutex.release()
                case _:
                    return

    async def assign() -> None:
        await mutex.acquire()
        if fixed:
            mutex.release()
        await added.send(True)
        if not fixed:
            mutex.release()
        group.done()

    async def test() -> None:
        group.add(2)
        for _ in range(2):
            spawn(assign)
        await group.wait()
        stop.set()

    await ticker.send(None)
    spawn(keep)
    spawn(test)


@family.sometimes("Etcd/7902", "follow", "lead", "test")
async def etcd_7902(fixed: bool) -> None:
    """A follower waits for the leader with the lock held that the leader needs to let it go."""
    mutex, group, following = Mutex(), WaitGroup(), Event()

    async def take_part(leader: bool) -> None:
        if not fixed:
            await mutex.acquire()
        if leader:
            following.set()
        else:
            await following.wait()
        if not fixed:
            mutex.release()
        group.done()

    async def lead() -> None:
        await take_part(leader=True)

    async def follow() -> None:
        await take_part(leader=False)

    async def test() -> None:
        group.add(2)
        spawn(lead)
        spawn(follow)
        await group.wait()

    spawn(test)


@family.sometimes("Grpc/1460", "keep_alive", "new_stream")
async def grpc_1460(fixed: bool) -> None:
    """Who keeps an idle connection alive sleeps with the lock held that a new stream needs to wake it."""
    mutex, dormant, streams = Mutex(), False, 0
    awaken: Channel[None] = Channel(1)

    async def keep_alive() -> None:
        nonlocal dormant
        await mutex.acquire()
        if not streams:
            dormant = True
            if fixed:
                mutex.release()
            await awaken.receive()
            if not fixed:
                mutex.release()
        else:
            mutex.release()

    async def new_stream() -> None:
        nonlocal streams
        await mutex.acquire()
        streams += 1
        if dormant:
            await awaken.send(None)
        mutex.release()

    spawn(keep_alive)
    spawn(new_stream)


@family.sometimes("Istio/16224", "check", "publish", "publish")
async def istio_16224(fixed: bool) -> None:
    """An event is published with the store's lock held; who reads the events asks the store in between."""
    store = Mutex()
    events: Channel[int] = Channel(2 if fixed else 0)

    async def publish() -> None:
        await store.acquire()
        await events.send(1)
        store.release()

    async def check() -> None:
        for _ in range(2):
            await events.receive()
            await store.acquire()
            store.release()

    for start in (check, publish, publish):
        spawn(start)


@family.sometimes("Kubernetes/10182", "set_status", "set_status", "synchronize")
async def kubernetes_10182(fixed: bool) -> None:
    """A status is handed over with the lock held that its receiver takes before it comes back for the next."""
    statuses = Mutex()
    channel: Channel[bool] = Channel()

    async def set_status() -> None:
        await statuses.acquire()
        if fixed:
            statuses.release()
        await channel.send(True)
        if not fixed:
            statuses.release()

    async def synchronize() -> None:
        for _ in range(2):
            await channel.receive()
            await statuses.acquire()  # a pod is gone: its status is deleted
            statuses.release()

    for start in (synchronize, set_status, set_status):
        spawn(start)


@family.sometimes("Kubernetes/1321", "distribute", "stop_watching")
async def kubernetes_1321(fixed: bool) -> None:
    """An event is delivered with the lock held that a watcher takes to say it does not listen any more."""
    mutex, watched, stopped = Mutex(), True, Event()
    results: Channel[int] = Channel()

    async def distribute() -> None:
        await mutex.acquire()
        if watched:
            await (select(send(results, 1), stopped) if fixed else results.send(1))
        mutex.release()

    async def stop_watching() -> None:
        nonlocal watched
        stopped.set()
        await mutex.acquire()
        watched = False
        mutex.release()

    spawn(distribute)
    spawn(stop_watching)


@family.sometimes("Kubernetes/26980", "pop", "run")
async def kubernetes_26980(fixed: bool) -> None:
    """A notification is handed on with the lock held that its receiver takes to add another."""
    mutex, pending, stop = Mutex(), [1, 2], Event()
    following: Channel[int] = Channel()

    async def pop() -> None:
        while True:
            await mutex.acquire()
            item = pending.pop(0) if pending else 0
            if fixed:
                mutex.release()
            chosen, _ = await select(send(following, item), stop)
            if not fixed:
                mutex.release()
            if chosen == 1:
                return

    async def run() -> None:
        await following.receive()
        await mutex.acquire()
        pending.append(3)
        mutex.release()
        stop.set()

    spawn(pop)
    spawn(run)


@family.sometimes("Kubernetes/6632", "monitor", "write_frame")
async def kubernetes_6632(fixed: bool) -> None:
    """A frame's writer sends with the lock held; who would read wants the lock, since the connection was closed."""
    write_lock, closed = Mutex(), Event()
    resets: Channel[int] = Channel()

    async def write_frame() -> None:
        await write_lock.acquire()
        await (select(send(resets, 1), closed) if fixed else resets.send(1))
        write_lock.release()

    async def monitor() -> None:
        while (await select(resets, closed))[0] == 0:
            pass
        await write_lock.acquire()
        write_lock.release()

    async def close() -> None:
        closed.set()

    for start in (monitor, write_frame, close):
        spawn(start)


@family.always("Moby/25384", "initialize")
async def moby_25384(fixed: bool) -> None:
    """Inside the loop that starts the goroutines, all of them are waited for."""
    group = WaitGroup()

    async def initialize() -> None:
        async def restore() -> None:
            group.done()

        group.add(2)
        for _ in range(2):
            spawn(restore)
            if not fixed:
                await group.wait()
        await group.wait()

    spawn(initialize)


@family.sometimes("Moby/28462", "monitor", "state_changed")
async def moby_28462(fixed: bool) -> None:
    """The monitor is told to stop with the lock held that it takes to note a result."""
    container = Mutex()
    stopping: Channel[None] = Channel(1 if fixed else 0)

    async def monitor() -> None:
        for _ in range(2):
            if try_select(stopping) is not None:
                return
            await container.acquire()  # the result of a probe
            container.release()
        await stopping.receive()

    async def state_changed() -> None:
        await container.acquire()
        await stopping.send(None)
        container.release()

    spawn(monitor)
    spawn(state_changed)


@family.sometimes("Serving/2137", "request", "request", "test")
async def serving_2137(fixed: bool) -> None:
    """Requests are let go in one order and waited for one by one; the only active place was taken in the other."""
    active: Channel[None] = Channel(1)

    async def request(mutex: Mutex, accepted: Channel[bool]) -> None:
        await active.send(None)
        await mutex.acquire()
        mutex.release()
        await active.receive()
        await accepted.send(True)

    async def test() -> None:
        requests = [(Mutex(), Channel[bool](1)) for _ in range(2)]
        for mutex, accepted in requests:
            await mutex.acquire()
            spawn(request, mutex, accepted)
        for mutex, accepted in requests:
            mutex.release()
            if not fixed:
                await accepted.receive()
        if fixed:
            for _, accepted in requests:
                await accepted.receive()

    spawn(test)
