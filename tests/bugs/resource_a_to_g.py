"""GoKer's lock bugs, of Cockroach, etcd and gRPC: taken twice, in two orders, or never given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gochan import Event, sleep

from .bug import Family, spawn
from .stand_ins import Mutex, RWMutex, WaitGroup

family = Family("goker resource")


@family.sometimes("Cockroach/10214", "send_heartbeats", "tick")
async def cockroach_10214(fixed: bool) -> None:
    """Heartbeats take the coalescing lock, then a replica's; a tick takes them the other way round."""
    coalesced, raft = Mutex(), Mutex()

    async def send_heartbeats() -> None:
        await coalesced.lock()
        if fixed:
            coalesced.unlock()
        await raft.lock()
        raft.unlock()
        if not fixed:
            coalesced.unlock()

    async def tick() -> None:
        await raft.lock()
        await coalesced.lock()
        coalesced.unlock()
        raft.unlock()

    spawn(send_heartbeats)
    spawn(tick)


@family.sometimes("Cockroach/16167", "execute", "update_configuration")
async def cockroach_16167(fixed: bool) -> None:
    """Two names for one lock: read-locked under both, with a writer in between."""
    configuration = RWMutex()

    async def read_configuration() -> None:
        await configuration.rlock()
        configuration.runlock()

    async def execute() -> None:
        if fixed:
            await read_configuration()
        await configuration.rlock()
        if not fixed:
            await read_configuration()
        configuration.runlock()

    async def update_configuration() -> None:
        await configuration.lock()
        configuration.unlock()

    spawn(execute)
    spawn(update_configuration)


@family.sometimes("Cockroach/3710", "force_log_scan", "process_raft")
async def cockroach_3710(fixed: bool) -> None:
    """A read lock is taken again four calls further down, with a writer in between."""
    store = RWMutex()

    async def raft_status(locked: bool) -> None:
        if not locked:
            await store.rlock()
        if not locked:
            store.runlock()

    async def should_queue() -> None:
        await raft_status(locked=fixed)

    async def force_log_scan() -> None:
        await store.rlock()
        await should_queue()
        store.runlock()

    async def process_raft() -> None:
        await store.lock()
        store.unlock()

    spawn(force_log_scan)
    spawn(process_raft)


@family.sometimes("Cockroach/584", "gossip")
async def cockroach_584(fixed: bool) -> None:
    """A loop is left with the lock held, if the thing was closed meanwhile; the next loop takes it again."""
    mutex, closed = Mutex(), False

    async def loop() -> None:
        for _ in range(2):
            await mutex.lock()
            if closed:
                if fixed:
                    mutex.unlock()
                break
            mutex.unlock()

    async def gossip() -> None:
        await loop()
        await loop()

    async def close() -> None:
        nonlocal closed
        await mutex.lock()
        closed = True
        mutex.unlock()

    spawn(gossip)
    spawn(close)


@family.sometimes("Cockroach/6181", "look_up", "look_up", "test")
async def cockroach_6181(fixed: bool) -> None:
    """To log, a reader of the cache takes the read lock again; another look-up wants to write meanwhile."""
    cache = RWMutex()
    group = WaitGroup()

    async def as_text() -> None:
        if not fixed:
            await cache.rlock()
            cache.runlock()

    async def look_up() -> None:
        await cache.rlock()
        await as_text()
        cache.runlock()
        await cache.lock()
        cache.unlock()
        group.done()

    async def test() -> None:
        group.add(2)
        for _ in range(2):
            spawn(look_up)
        await group.wait()

    spawn(test)


@family.sometimes("Cockroach/7504", "acquire_by_name", "release")
async def cockroach_7504(fixed: bool) -> None:
    """A name is acquired through the cache, then the lease; a lease is released the other way round."""
    names, lease = Mutex(), Mutex()

    async def acquire_by_name() -> None:
        await names.lock()
        if fixed:
            names.unlock()
        await lease.lock()
        lease.unlock()
        if not fixed:
            names.unlock()

    async def release() -> None:
        await lease.lock()
        await names.lock()
        names.unlock()
        lease.unlock()

    spawn(acquire_by_name)
    spawn(release)


@family.sometimes("Cockroach/9935", "write_entry", "write_entry")
async def cockroach_9935(fixed: bool) -> None:
    """A logger that fails while it writes an entry exits, and that takes the logger's lock again."""
    mutex, disk_full = Mutex(), False

    async def leave() -> None:
        await mutex.lock()
        mutex.unlock()

    async def write_entry() -> None:
        await mutex.lock()
        if disk_full:
            if fixed:
                mutex.unlock()
            await leave()
            return
        mutex.unlock()

    async def fill_disk() -> None:
        nonlocal disk_full
        await sleep(0)
        disk_full = True

    spawn(fill_disk)
    for _ in range(2):
        spawn(write_entry)


@family.always("Etcd/10492", "renew")
async def etcd_10492(fixed: bool) -> None:
    """A lease is renewed under the lock, and its checkpoint, by way of a callback, locks again."""
    mutex = Mutex()

    async def checkpoint() -> None:
        await mutex.lock()
        mutex.unlock()

    async def renew(save: Callable[[], Awaitable[None]]) -> None:
        await mutex.lock()
        if fixed:
            mutex.unlock()
        await save()
        if not fixed:
            mutex.unlock()

    spawn(renew, checkpoint)


@family.always("Etcd/5509", "use_client")
async def etcd_5509(fixed: bool) -> None:
    """On its failing path, acquire() returns with the read lock held; close() then waits for it."""
    client = RWMutex()

    async def acquire() -> bool:
        await client.rlock()
        connected = False
        if connected or fixed:
            client.runlock()
        return connected

    async def use_client() -> None:
        if not await acquire():
            await client.lock()
            client.unlock()

    spawn(use_client)


@family.always("Etcd/6708", "synchronize")
async def etcd_6708(fixed: bool) -> None:
    """The list of members is synchronized under the write lock, by a request that reads that list."""
    members = RWMutex()

    async def request() -> None:
        await members.rlock()
        members.runlock()

    async def synchronize() -> None:
        if fixed:
            await request()
        await members.lock()
        if not fixed:
            await request()
        members.unlock()

    spawn(synchronize)


@family.sometimes("Grpc/3017", "remove_later", "resolve", "test")
async def grpc_3017(fixed: bool) -> None:
    """A timer that was overtaken while it waited for the lock returns with it."""
    mutex = Mutex()
    done = Event()
    armed, abort = True, False

    async def remove_later() -> None:
        nonlocal armed
        await sleep(0)
        if not armed:
            return
        armed = False
        await mutex.lock()
        if abort and not fixed:
            return
        mutex.unlock()

    async def resolve() -> None:
        nonlocal armed, abort
        await mutex.lock()
        spawn(remove_later)
        mutex.unlock()
        await sleep(0)
        await mutex.lock()  # the same address again: the removal is called off
        await sleep(0)
        if armed:
            armed = False
        else:
            abort = True
        mutex.unlock()
        await mutex.lock()
        mutex.unlock()
        done.set()

    async def test() -> None:
        spawn(resolve)
        await done.wait()

    spawn(test)


@family.sometimes("Grpc/795", "serve", "stop")
async def grpc_795(fixed: bool) -> None:
    """The second graceful stop returns with the lock."""
    mutex, draining = Mutex(), False

    async def stop() -> None:
        nonlocal draining
        await mutex.lock()
        if draining:
            if fixed:
                mutex.unlock()
            return
        draining = True
        mutex.unlock()

    async def serve() -> None:
        await mutex.lock()
        mutex.unlock()

    for start in (serve, stop, stop):
        spawn(start)
