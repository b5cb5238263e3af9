"""Six mistakes that leak goroutines in real programs, as a study of a large company's services found them."""

from __future__ import annotations

from gochan import Channel, Event, select, sleep

from .bug import Family, spawn

family = Family("pattern")


@family.always("NoCloseRange", "producer", "worker", "worker", "worker")
async def no_close_range(fixed: bool) -> None:
    """Workers read until a channel is closed, which nobody does; without workers the producer hangs instead."""

    async def producer(number_of_workers: int) -> None:
        items: Channel[int] = Channel()

        async def worker() -> None:
            async for _ in items:
                pass

        for _ in range(number_of_workers):
            spawn(worker)
        for item in range(3):
            await items.send(item)
        if fixed:
            items.close()

    spawn(producer, 3)
    spawn(producer, 1 if fixed else 0)


@family.always("MethodContractViolation", "work")
async def method_contract_violation(fixed: bool) -> None:
    """An object with start() and stop(), and a user who forgets stop()."""

    class Worker:
        def __init__(self) -> None:
            self.queue: Channel[int] = Channel()
            self.done = Event()

        def start(self) -> None:
            spawn(self.work)

        def stop(self) -> None:
            self.done.set()

        async def work(self) -> None:
            while (await select(self.queue, self.done))[0] == 0:
                pass

    worker = Worker()
    worker.start()
    for item in range(10):
        await worker.queue.send(item)
    await sleep(0)
    if fixed:
        worker.stop()


@family.always("DoubleSend", "answer")
async def double_send(fixed: bool) -> None:
    """A return is missing after the error was sent, so the good answer is sent too."""

    async def answer(channel: Channel[str], failed: bool) -> None:
        if failed:
            await channel.send("error")
            if fixed:
                return
        await channel.send("result")

    async def ask() -> None:
        for failed in (False, True):
            channel: Channel[str] = Channel()
            spawn(answer, channel, failed)
            await channel.receive()
        buffered: Channel[str] = Channel(1)
        spawn(answer, buffered, True)
        await buffered.receive()

    await ask()


@family.always("EarlyReturn", "sender")
async def early_return(fixed: bool) -> None:
    """The parent returns on an error, before it receives what its child sends."""

    async def parent(failed: bool) -> None:
        channel: Channel[int] = Channel(1 if fixed else 0)

        async def sender() -> None:
            await channel.send(0)

        spawn(sender)
        if failed:
            return
        await channel.receive()

    spawn(parent, True)


@family.always("NCastLeak", "asker", *["sender"] * 4)
async def n_cast_leak(fixed: bool) -> None:
    """Many answer, the first answer is taken; with nobody to answer, the asker waits."""

    async def asker(askees: int) -> None:
        answers: Channel[int] = Channel(askees if fixed else 0)

        async def sender() -> None:
            await answers.send(0)

        for _ in range(askees):
            spawn(sender)
        if fixed and not askees:
            return
        await answers.receive()

    spawn(asker, 0)
    spawn(asker, 5)


@family.always("Timeout", *["sender"] * 100)
async def timeout(fixed: bool) -> None:
    """Whoever asked has given up, and the answer has nowhere to go."""
    given_up = Event()
    given_up.set()

    async def asker() -> None:
        answers: Channel[int] = Channel(1 if fixed else 0)

        async def sender() -> None:
            await answers.send(0)

        spawn(sender)
        await select(given_up, answers, priority=True)

    for _ in range(100):
        spawn(asker)
