"""GoKer's lock bugs, of Hugo, Kubernetes, Moby and Syncthing."""

from __future__ import annotations

from gochan import Cond, Mutex, RWMutex, WaitGroup, sleep

from .bug import Family, spawn

family = Family("goker resource")


@family.sometimes("Hugo/3251", "build", "fetch", "fetch")
async def hugo_3251(fixed: bool) -> None:
    """To lock one address, the table of locks is held; to unlock it, the table is read-locked first."""
    table, addresses = RWMutex(), dict[str, Mutex]()
    group = WaitGroup()

    async def lock(address: str) -> None:
        await table.acquire_write()
        mutex = addresses.setdefault(address, Mutex())
        if fixed:
            table.release_write()
        await mutex.acquire()
        if not fixed:
            table.release_write()

    async def unlock(address: str) -> None:
        await table.acquire_read()
        addresses[address].release()
        table.release_read()

    async def fetch() -> None:
        await lock("https://example.org")
        await unlock("https://example.org")
        group.done()

    async def build() -> None:
        group.add(2)
        for _ in range(2):
            spawn(fetch)
        await group.wait()

    spawn(build)


@family.sometimes("Hugo/5379", "build", "render", "render")
async def hugo_5379(fixed: bool) -> None:
    """A page's content is made ready under a lock, by code that asks for ready content."""
    mutex, group, ready = Mutex(), WaitGroup(), False

    async def initialize() -> None:
        nonlocal ready
        await mutex.acquire()
        if not ready:
            ready = True
            await summary()
        mutex.release()

    async def summary() -> None:
        if not fixed:
            await sleep(0)
            if not warm:
                await initialize()

    warm = False

    async def warm_up() -> None:
        nonlocal warm
        warm = True

    async def render() -> None:
        await initialize()
        group.done()

    async def build() -> None:
        group.add(2)
        for start in (render, render, warm_up):
            spawn(start)
        await group.wait()

    spawn(build)


@family.sometimes("Kubernetes/13135", "add", "start_caching")
async def kubernetes_13135(fixed: bool) -> None:
    """The cacher locks itself, then its watch cache; an event comes in the other way round."""
    cacher, watch_cache = Mutex(), Mutex()

    async def start_caching() -> None:
        for _ in range(2):
            await cacher.acquire()
            await watch_cache.acquire()
            watch_cache.release()
            cacher.release()

    async def add() -> None:
        await watch_cache.acquire()
        if fixed:
            watch_cache.release()
        await cacher.acquire()
        cacher.release()
        if not fixed:
            watch_cache.release()

    spawn(start_caching)
    spawn(add)


@family.sometimes("Kubernetes/30872", "deliver", "ready_clusters", "stop")
async def kubernetes_30872(fixed: bool) -> None:
    """The queue holds its lock while it delivers to an informer, who holds its own while it stops the queue."""
    queue, informer = Mutex(), RWMutex()

    async def deliver() -> None:
        await queue.acquire()
        if fixed:
            queue.release()
        await informer.acquire_read()
        informer.release_read()
        if not fixed:
            queue.release()

    async def stop() -> None:
        await informer.acquire_write()
        await queue.acquire()
        queue.release()
        informer.release_write()

    async def ready_clusters() -> None:
        await informer.acquire_read()
        informer.release_read()

    for start in (deliver, stop, ready_clusters):
        spawn(start)


@family.sometimes("Kubernetes/58107", "work", "work", "synchronize")
async def kubernetes_58107(fixed: bool) -> None:
    """Workers wait for a queue with the read lock held; a writer that waits keeps out the worker who would fill it."""
    workers = RWMutex()
    condition, jobs = Cond(Mutex()), 0

    async def next_job() -> None:
        nonlocal jobs
        await condition.mutex.acquire()
        while not jobs:
            await condition.wait()
        jobs -= 1
        condition.mutex.release()

    async def work() -> None:
        if fixed:
            await next_job()
        await workers.acquire_read()
        if not fixed:
            await next_job()
        workers.release_read()

    async def synchronize() -> None:
        nonlocal jobs
        await workers.acquire_write()
        workers.release_write()
        await condition.mutex.acquire()
        jobs += 2
        condition.broadcast()
        condition.mutex.release()

    for start in (work, work, synchronize):
        spawn(start)


@family.sometimes("Kubernetes/62464", "reconcile", "remove_container")
async def kubernetes_62464(fixed: bool) -> None:
    """A look-up with a default read-locks, and so does the look-up inside it; a writer comes in between."""
    state = RWMutex()

    async def cpu_set() -> None:
        await state.acquire_read()
        state.release_read()

    async def cpu_set_or_default() -> None:
        await state.acquire_read()
        if fixed:
            state.release_read()
        await cpu_set()
        if not fixed:
            state.release_read()

    async def reconcile() -> None:
        for _ in range(2):
            await cpu_set_or_default()

    async def remove_container() -> None:
        await cpu_set()
        await state.acquire_write()
        state.release_write()

    spawn(reconcile)
    spawn(remove_container)


@family.always("Moby/17176", "deactivate")
async def moby_17176(fixed: bool) -> None:
    """With nothing to delete, the function returns with the lock."""
    mutex, deleted = Mutex(), 0

    async def clean_up_deleted() -> None:
        await mutex.acquire()
        if not deleted and not fixed:
            return
        mutex.release()

    async def deactivate() -> None:
        await clean_up_deleted()
        await mutex.acquire()
        mutex.release()

    spawn(deactivate)


@family.always("Moby/36114", "hot_add")
async def moby_36114(fixed: bool) -> None:
    """Disks are added under the lock, and one that fails is removed by a function that locks too."""
    mutex = Mutex()

    async def hot_remove(locked: bool) -> None:
        if not locked:
            await mutex.acquire()
            mutex.release()

    async def hot_add() -> None:
        await mutex.acquire()
        await hot_remove(locked=fixed)
        mutex.release()

    spawn(hot_add)


@family.sometimes("Moby/4951", "delete_device", "unmount_device")
async def moby_4951(fixed: bool) -> None:
    """One holds a device and wants all devices, the other holds all and wants the device."""
    all_devices, device = Mutex(), Mutex()

    async def unmount_device() -> None:
        first, second = (all_devices, device) if fixed else (device, all_devices)
        await first.acquire()
        await second.acquire()
        second.release()
        first.release()

    async def delete_device() -> None:
        await all_devices.acquire()
        await device.acquire()
        device.release()
        all_devices.release()

    spawn(unmount_device)
    spawn(delete_device)


@family.always("Moby/7559", "run")
async def moby_7559(fixed: bool) -> None:
    """An error in the loop's body goes on with the next round, with the lock held."""
    connections = Mutex()

    async def run() -> None:
        for failed in (True, False):
            await connections.acquire()
            if failed:
                if fixed:
                    connections.release()
                continue
            connections.release()

    spawn(run)


@family.always("Syncthing/4829", "clear_addresses")
async def syncthing_4829(fixed: bool) -> None:
    """A mapping is cleared under its lock, and those who are told of it read it."""
    mapping = RWMutex()

    async def notify() -> None:
        await mapping.acquire_read()
        mapping.release_read()

    async def clear_addresses() -> None:
        await mapping.acquire_write()
        if fixed:
            mapping.release_write()
        await notify()
        if not fixed:
            mapping.release_write()

    spawn(clear_addresses)
