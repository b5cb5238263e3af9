"""GoKer's communication bugs, of Istio, Kubernetes, Moby and Syncthing."""

from __future__ import annotations

from gochan import Channel, Cond, Event, Mutex, select, send, sleep, try_select

from .bug import Family, spawn

family = Family("goker communication")


@family.sometimes("Istio/17860", "run_wait", "run_wait")
async def istio_17860(fixed: bool) -> None:
    """The agent's loop ends with its context; an epoch that ends later reports to nobody."""
    context = Event()
    statuses: Channel[int] = Channel()

    async def run_wait(epoch: int) -> None:
        await (select(send(statuses, epoch), context) if fixed else statuses.send(epoch))

    async def run() -> None:
        for _ in range(2):
            if (await select(statuses, context))[0] == 1:
                return

    async def terminate() -> None:
        context.set()

    spawn(run)
    for epoch in range(2):
        spawn(run_wait, epoch)
    spawn(terminate)


@family.sometimes("Istio/18454", "stop", "work")
async def istio_18454(fixed: bool) -> None:
    """``if !timer.Stop() { <-timer.C }``, while somebody else takes what the timer has sent."""
    timer: Channel[None] = Channel(1)
    done = Event()
    armed = True

    async def fire() -> None:
        nonlocal armed
        await sleep(0)
        if armed:
            armed = False
            await timer.send(None)

    async def work() -> None:
        while (await select(timer, done))[0] == 0:
            pass

    async def stop() -> None:
        nonlocal armed
        await sleep(0)
        was_armed, armed = armed, False
        if not was_armed:
            if fixed:
                try_select(timer)
            else:
                await timer.receive()
        done.set()

    for start in (fire, work, stop):
        spawn(start)


@family.sometimes("Kubernetes/11298", "serve")
async def kubernetes_11298(fixed: bool) -> None:
    """A signal that comes before the wait is lost, and the wait has no condition to look at."""
    condition, notified = Cond(Mutex()), False

    async def notify() -> None:
        nonlocal notified
        await condition.mutex.acquire()
        notified = True
        condition.signal()
        condition.mutex.release()

    async def serve() -> None:
        await condition.mutex.acquire()
        while not (fixed and notified):
            await condition.wait()
            if not fixed:
                break
        condition.mutex.release()

    spawn(serve)
    spawn(notify)


@family.always("Kubernetes/25331", "run")
async def kubernetes_25331(fixed: bool) -> None:
    """After an error a last result is sent, whatever the context says; the reader has stopped."""
    context = Event()
    errors: Channel[str] = Channel()
    results: Channel[str] = Channel()

    async def run() -> None:
        error = await errors.receive()
        context.set()
        await (select(context, send(results, error), priority=True) if fixed else results.send(error))

    async def stop() -> None:
        await errors.send("gone")
        context.set()

    spawn(run)
    spawn(stop)


@family.always("Kubernetes/38669", "process")
async def kubernetes_38669(fixed: bool) -> None:
    """A watcher starts with a result to deliver, and nobody has been told to read."""
    results: Channel[int] = Channel()
    done = Event()

    async def process(initial: list[int]) -> None:
        for event in initial:
            await select(send(results, event), done)

    spawn(process, [1])
    if fixed:
        done.set()


@family.always("Kubernetes/5316", "work")
async def kubernetes_5316(fixed: bool) -> None:
    """The request has timed out, and its result has nowhere to go."""
    timed_out = Event()

    async def finish_request() -> None:
        results: Channel[str] = Channel(1 if fixed else 0)

        async def work() -> None:
            await sleep(0.002)
            await results.send("late")

        spawn(work)
        await select(results, timed_out)

    async def clock() -> None:
        await sleep(0.001)
        timed_out.set()

    spawn(finish_request)
    spawn(clock)
    await sleep(0.003)


@family.always("Kubernetes/70277", "poller")
async def kubernetes_70277(fixed: bool) -> None:
    """Who waits for a condition leaves the poller behind when it holds: the done channel is never closed."""

    async def wait_for() -> None:
        ticks: Channel[int] = Channel()
        done = Event()

        async def poller() -> None:
            tick = 0
            while (await select(send(ticks, tick), done))[0] == 0:
                tick += 1

        spawn(poller)
        while await ticks.receive() < 2:
            pass
        if fixed:
            done.set()

    spawn(wait_for)


@family.sometimes("Moby/21233", "watch")
async def moby_21233(fixed: bool) -> None:
    """Progress may overwrite earlier progress; a consumer that expects every step gives up and stops reading."""
    latest = 0
    changed: Channel[None] = Channel(1)
    progress: Channel[int] = Channel()

    async def transfer() -> None:
        nonlocal latest
        for step in range(1, 6):
            latest = step
            try_select(send(changed, None))
            await sleep(0)
        changed.close()

    async def watch() -> None:
        async for _ in changed:
            await progress.send(latest)
        progress.close()

    async def consume() -> None:
        seen = 0
        async for step in progress:
            if not fixed and step != seen + 1:
                return
            seen = step

    for start in (transfer, watch, consume):
        spawn(start)


@family.sometimes("Moby/27782", "follow_logs", "read_events")
async def moby_27782(fixed: bool) -> None:
    """To stop watching a file, one waits for the reader of its events, who waits to deliver an event to that one."""
    raw: Channel[str] = Channel(4)
    events: Channel[str] = Channel()
    closing = Event()
    removed, ignored = Cond(Mutex()), False

    async def read_events() -> None:
        nonlocal ignored
        async for event in raw:
            if event != "ignored":
                await (select(send(events, event), closing) if fixed else events.send(event))
                continue
            await removed.mutex.acquire()
            ignored = True
            removed.broadcast()
            removed.mutex.release()

    async def follow_logs() -> None:
        while (await select(events, closing))[0] == 0:
            pass
        await raw.send("ignored")
        await removed.mutex.acquire()
        while not ignored:
            await removed.wait()
        removed.mutex.release()
        raw.close()

    async def close() -> None:
        closing.set()

    await raw.send("modified")
    for start in (follow_logs, read_events, close):
        spawn(start)


@family.always("Moby/30408", "caller", "wait_active")
async def moby_30408(fixed: bool) -> None:
    """A plugin is waited for by a condition that nothing ever signals."""
    condition, active = Cond(Mutex()), False
    done = Event()

    async def wait_active() -> None:
        await condition.mutex.acquire()
        while not active:
            await condition.wait()
        condition.mutex.release()
        done.set()

    async def caller() -> None:
        nonlocal active
        spawn(wait_active)
        if fixed:
            await condition.mutex.acquire()
            active = True
            condition.broadcast()
            condition.mutex.release()
        await done.wait()

    spawn(caller)


@family.sometimes("Moby/33781", "probe")
async def moby_33781(fixed: bool) -> None:
    """The monitor is stopped while a probe runs, and does not take its result."""
    stopping: Channel[None] = Channel()

    async def monitor() -> None:
        results: Channel[str] = Channel(1 if fixed else 0)

        async def probe() -> None:
            await results.send("healthy")

        for _ in range(2):
            if try_select(stopping) is not None:
                return
            spawn(probe)
            if (await select(stopping, results))[0] == 0:
                return
        await stopping.receive()

    async def stop() -> None:
        await stopping.send(None)

    spawn(monitor)
    spawn(stop)


@family.always("Syncthing/5795", "dispatch", "start")
async def syncthing_5795(fixed: bool) -> None:
    """The loop itself handles the message that closes it, and waits for its own end."""
    inbox: Channel[str] = Channel()
    closed, stopped = Event(), Event()

    async def close() -> None:
        closed.set()
        await stopped.wait()

    async def dispatch() -> None:
        while (await select(inbox, closed))[0] == 0:
            if fixed:
                spawn(close)
            else:
                await close()
        stopped.set()

    async def start() -> None:
        spawn(dispatch)
        await inbox.send("bad cluster configuration")
        await stopped.wait()

    spawn(start)
