"""GoKer's lock bugs, of Cockroach, etcd and gRPC: taken twice, in two orders, or never given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gochan import Event, Mutex, RWMutex, WaitGroup, sleep

from .bug import Family, spawn

family = Family("goker resource")


@family.sometimes("Cockroach/10214", "send_heartbeats", "tick")
async def cockroach_10214(fixed: bool) -> None:
    """Heartbeats take the coalescing lock, then a replica's; a tick takes them the other way round."""
    coalesced, raft = Mutex(), Mutex()

    async def send_heartbeats() -> None:
        await coalesced.acquire()
        if fixed:
            coalesced.release()
        await raft.acquire()
        raft.release()
        if not fixed:
            coalesced.release()

    async def tick() -> None:
        await raft.acquire()
        await coalesced.acquire()
        coalesced.release()
        raft.release()

    spawn(send_heartbeats)
    spawn(tick)


@family.sometimes("Cockroach/16167", "execute", "update_configuration")
async def cockroach_16167(fixed: bool) -> None:
    """Two names for one lock: read-locked under both, with a writer in between."""
    configuration = RWMutex()

    async def read_configuration() -> None:
        await configuration.acquire_read()
        configuration.release_read()

    async def execute() -> None:
        if fixed:
            await read_configuration()
        await configuration.acquire_read()
        if not fixed:
            await read_configuration()
        configuration.release_read()

    async def update_configuration() -> None:
        await configuration.acquire_write()
        configuration.release_write()

    spawn(execute)
    spawn(update_configuration)


@family.sometimes("Cockroach/3710", "force_log_scan", "process_raft")
async def cockroach_3710(fixed: bool) -> None:
    """A read lock is taken again four calls further down, with a writer in between."""
    store = RWMutex()

    async def raft_status(locked: bool) -> None:
        if not locked:
            await store.acquire_read()
        if not locked:
            store.release_read()

    async def should_queue() -> None:
        await raft_status(locked=fixed)

    async def force_log_scan() -> None:
        await store.acquire_read()
        await should_queue()
        store.release_read()

    async def process_raft() -> None:
        await store.acquire_write()
        store.release_write()

    spawn(force_log_scan)
    spawn(process_raft)


@family.sometimes("Cockroach/584", "gossip")
async def cockroach_584(fixed: bool) -> None:
    """A loop is left with the lock held, if the thing was closed meanwhile; the next loop takes it again."""
    mutex, closed = Mutex(), False

    async def loop() -> None:
        for _ in range(2):
            await mutex.acquire()
            if closed:
                if fixed:
                    mutex.release()
                break
            mutex.release()

    async def gossip() -> None:
        await loop()
        await loop()

    async def close() -> None:
        nonlocal closed
        await mutex.acquire()
        closed = True
        mutex.release()

    spawn(gossip)
    spawn(close)


@family.sometimes("Cockroach/6181", "look_up", "look_up", "test")
async def cockroach_6181(fixed: bool) -> None:
    """To log, a reader of the cache takes the read lock again; another look-up wants to write meanwhile."""
    cache = RWMutex()
    group = WaitGroup()

    async def as_text() -> None:
        if not fixed:
            await cache.acquire_read()
            cache.release_read()

    async def look_up() -> None:
        await cache.acquire_read()
        await as_text()
        cache.release_read()
        await cache.acquire_write()
        cache.release_write()
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
        await names.acquire()
        if fixed:
            names.release()
        await lease.acquire()
        lease.release()
        if not fixed:
            names.release()

    async def release() -> None:
        await lease.acquire()
        await names.acquire()
        names.release()
        lease.release()

    spawn(acquire_by_name)
    spawn(release)


@family.sometimes("Cockroach/9935", "write_entry", "write_entry")
async def cockroach_9935(fixed: bool) -> None:
    """A logger that fails while it writes an entry exits, and that takes the logger's lock again."""
    mutex, disk_full = Mutex(), False

    async def leave() -> None:
        await mutex.acquire()
        mutex.release()

    async def write_entry() -> None:
        await mutex.acquire()
        if disk_full:
            if fixed:
                mutex.release()
            await leave()
            return
        mutex.release()

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
        await mutex.acquire()
        mutex.release()

    async def renew(save: Callable[[], Awaitable[None]]) -> None:
        await mutex.acquire()
        if fixed:
            mutex.release()
        await save()
        if not fixed:
            mutex.release()

    spawn(renew, checkpoint)


@family.always("Etcd/5509", "use_client")
async def etcd_5509(fixed: bool) -> None:
    """On its failing path, acquire() returns with the read lock held; close() then waits for it."""
    client = RWMutex()

    async def acquire() -> bool:
        await client.acquire_read()
        connected = False
        if connected or fixed:
            client.release_read()
        return connected

    async def use_client() -> None:
        if not await acquire():
            await client.acquire_write()
            client.release_write()

    spawn(use_client)


@family.always("Etcd/6708", "synchronize")
async def etcd_6708(fixed: bool) -> None:
    """The list of members is synchronized under the write lock, by a request that reads that list."""
    members = RWMutex()

    async def request() -> None:
        await members.acquire_read()
        members.release_read()

    async def synchronize() -> None:
        if fixed:
            await request()
        await members.acquire_write()
        if not fixed:
            await request()
        members.release_write()

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
        await mutex.acquire()
        if abort and not fixed:
            return
        mutex.release()

    async def resolve() -> None:
        nonlocal armed, abort
        await mutex.acquire()
        spawn(remove_later)
        mutex.release()
        await sleep(0)
        await mutex.acquire()  # the same address again: the removal is called off
        await sleep(0)
        if armed:
            armed = False
        else:
            abort = True
        mutex.release()
        await mutex.acquire()
        mutex.release()
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
        await mutex.acquire()
        if draining:
            if fixed:
                mutex.release()
            return
        draining = True
        mutex.release()

    async def serve() -> None:
        await mutex.acquire()
        mutex.release()

    for start in (serve, stop, stop):
        spawn(start)
