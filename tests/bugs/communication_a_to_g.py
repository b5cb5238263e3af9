"""GoKer's communication bugs, of Cockroach, etcd and gRPC: nobody is, or stays, at the other end of a channel.

A context is an event here: what its ``Done()`` is in Go.
"""

from __future__ import annotations

from gochan import Channel, Event, select, send, sleep, try_select

from .bug import Family, spawn

family = Family("goker communication")


@family.sometimes("Cockroach/10790", "drain")
async def cockroach_10790(fixed: bool) -> None:
    """The reader gives up on a cancelled context and leaves the draining to a helper; the sender has given up too."""
    context, sender_gone = Event(), Event()
    channels: list[Channel[bool]] = [Channel(), Channel()]

    async def drain() -> None:
        for channel in channels:
            await (select(channel, sender_gone) if fixed else channel.receive())

    async def begin_commands() -> None:
        for channel in channels:
            if (await select(channel, context))[0] == 1:
                spawn(drain)
                return

    async def send_all() -> None:
        for channel in channels:
            if (await select(send(channel, True), context))[0] == 1:
                break
        sender_gone.set()

    async def cancel() -> None:
        context.set()

    for start in (begin_commands, send_all, cancel):
        spawn(start)


@family.always("Cockroach/13197", "await_done")
async def cockroach_13197(fixed: bool) -> None:
    """A transaction's helper waits for the end of a context that nobody ends, since nobody ends the transaction."""
    context = Event()

    async def await_done() -> None:
        await context.wait()

    async def begin() -> None:
        spawn(await_done)

    await begin()
    if fixed:
        context.set()  # the rollback


@family.always("Cockroach/13755", "await_done")
async def cockroach_13755(fixed: bool) -> None:
    """The rows of a query are not closed, so what watches their context is never told."""

    class Rows:
        def __init__(self) -> None:
            self.context = Event()

        def query(self) -> Rows:
            spawn(self.await_done)
            return self

        async def await_done(self) -> None:
            await self.context.wait()

        def close(self) -> None:
            self.context.set()

    rows = Rows().query()
    if fixed:
        rows.close()


@family.sometimes("Cockroach/18101", "split_and_scatter")
async def cockroach_18101(fixed: bool) -> None:
    """The context ends the reader, and not who sends to it. (Filed under locks by GoKer.)"""
    context = Event()
    ready: Channel[int] = Channel()

    async def split_and_scatter() -> None:
        for number in range(3):
            if not fixed:
                await ready.send(number)
            elif (await select(send(ready, number), context))[0] == 1:
                return

    async def restore() -> None:
        for _ in range(3):
            if (await select(ready, context))[0] == 1:
                return

    async def cancel() -> None:
        context.set()

    for start in (split_and_scatter, restore, cancel):
        spawn(start)


@family.sometimes("Cockroach/2448", "multi_raft", "process_raft")
async def cockroach_2448(fixed: bool) -> None:
    """Each sends to the other, and neither listens meanwhile."""
    events: Channel[str] = Channel()
    callbacks: Channel[str] = Channel()
    stop = Event()

    async def process_raft() -> None:
        while (await select(events, stop))[0] == 0:
            if (await select(send(callbacks, "applied"), stop))[0] == 1:
                return

    async def multi_raft() -> None:
        committed = 0
        while committed < 2:
            if fixed:
                committed += (await select(send(events, "commit"), callbacks))[0] == 0
            elif try_select(callbacks) is None:
                await select(send(events, "commit"), stop)
                committed += 1
            await sleep(0)
        stop.set()

    spawn(process_raft)
    spawn(multi_raft)


@family.always("Cockroach/24808", "start")
async def cockroach_24808(fixed: bool) -> None:
    """The place in the buffer is taken before the only reader, who sends first, has started."""
    suggestions: Channel[int] = Channel(1)

    async def start() -> None:
        if fixed:
            try_select(send(suggestions, 0))
        else:
            await suggestions.send(0)
        await suggestions.receive()

    await suggestions.send(1)
    spawn(start)


@family.always("Cockroach/25456", "process")
async def cockroach_25456(fixed: bool) -> None:
    """To ask whether the store is draining, the queue waits until it is."""
    should_quiesce = Event()

    async def process() -> None:
        if fixed:
            try_select(should_quiesce)
        else:
            await should_quiesce.wait()

    spawn(process)


@family.always("Cockroach/35073", "push_rows")
async def cockroach_35073(fixed: bool) -> None:
    """A consumer that fails while it starts does not tell its producer."""
    rows: Channel[int] = Channel(1)
    consumer_done = Event()

    async def push_rows() -> None:
        for row in range(3):
            if (await select(send(rows, row), consumer_done))[0] == 1:
                return

    async def outbox() -> None:
        await sleep(0)  # the connection is refused
        if fixed:
            consumer_done.set()

    spawn(push_rows)
    spawn(outbox)


@family.always("Cockroach/35931", "cancel_flow", "processor")
async def cockroach_35931(fixed: bool) -> None:
    """The cancellation is written to one input after the other; the first is full, the second is waited for."""
    first: Channel[str] = Channel(1)
    second: Channel[str] = Channel(1)

    async def processor() -> None:
        await second.receive()
        await first.receive()
        await first.receive()

    async def cancel_one(stream: Channel[str]) -> None:
        await stream.send("cancelled")

    async def cancel_flow() -> None:
        for stream in (first, second):
            if fixed:
                spawn(cancel_one, stream)
            else:
                await cancel_one(stream)

    await first.send("row")
    spawn(processor)
    spawn(cancel_flow)


@family.sometimes("Etcd/6857", "status")
async def etcd_6857(fixed: bool) -> None:
    """The loop chose to stop, and a question for its status comes too late."""
    questions: Channel[Channel[str]] = Channel()
    stopping: Channel[None] = Channel()
    done = Event()

    async def run() -> None:
        while True:
            match await select(questions, stopping):
                case (0, answer):
                    await answer.send("fine")
                case _:
                    done.set()
                    return

    async def status() -> None:
        answer: Channel[str] = Channel(1)
        if not fixed:
            await questions.send(answer)
        elif (await select(send(questions, answer), done))[0] == 1:
            return
        await answer.receive()

    async def stop() -> None:
        await select(send(stopping, None), done)
        await done.wait()

    for start in (run, status, stop):
        spawn(start)


@family.always("Grpc/1275", "close_stream", "read")
async def grpc_1275(fixed: bool) -> None:
    """A stream is closed without waking who reads from it, and whose end is waited for."""
    received: Channel[bytes] = Channel(1)
    done = Event()

    async def read() -> None:
        await received.receive_ok()
        done.set()

    async def close_stream() -> None:
        if fixed:
            received.close()
        await done.wait()

    spawn(read)
    spawn(close_stream)


@family.always("Grpc/1424", "dial")
async def grpc_1424(fixed: bool) -> None:
    """The watcher ends with the stream of addresses and does not say so to who waits for the first one."""
    addresses: Channel[str] = Channel()
    first_seen = Event()

    async def watch_addresses() -> None:
        async for _ in addresses:
            first_seen.set()
        if fixed:
            first_seen.set()

    async def dial() -> None:
        spawn(watch_addresses)
        await first_seen.wait()

    spawn(dial)
    addresses.close()


@family.always("Grpc/660", "worker")
async def grpc_660(fixed: bool) -> None:
    """The parent was stopped, and takes no report from its worker any more."""
    stopping: Channel[bool] = Channel()

    async def close_loop() -> None:
        done: Channel[bool] = Channel(1 if fixed else 0)
        stopped = Event()

        async def worker() -> None:
            await stopped.wait()
            await done.send(True)

        spawn(worker)
        if (await select(done, stopping))[0] == 1:
            stopped.set()

    async def stop() -> None:
        await stopping.send(True)

    spawn(close_loop)
    spawn(stop)


@family.always("Grpc/862", "reset_connection")
async def grpc_862(fixed: bool) -> None:
    """Dialling fails, and the half-made connection is dropped without being closed."""
    connection_context = Event()

    async def reset_connection() -> None:
        while not connection_context.is_set():
            await connection_context.wait()

    async def dial_context(context: Event) -> None:
        spawn(reset_connection)
        await context.wait()
        if fixed:
            connection_context.set()

    context = Event()
    spawn(dial_context, context)
    context.set()
