"""Trees of contexts under every schedule: who is done, with what, and what is left."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, remembered

from gochan import CancelContext, Cancelled, Channel, Context, Group, background, merge_contexts, select, send
from gochan.testing import explore

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def grown(random: Random, size: int) -> list[CancelContext]:
    """A random tree with merges, values and deadlines in it."""
    tree = [background().with_cancel()]
    while len(tree) < size:
        parent: Context = random.choice(tree)
        match random.randrange(5):
            case 0:
                tree.append(merge_contexts(parent, random.choice(tree)))
            case 1:
                tree.append(parent.with_timeout(random.randrange(4)))
            case 2:
                tree.append(parent.with_value("k", "v").with_cancel())
            case _:
                tree.append(parent.with_cancel())
    return tree


@backends
@pytest.mark.parametrize("seed", range(3))
def test_a_random_tree_cancelled_from_all_sides(backend: Any, seed: int) -> None:
    """All are done in the end; a child never outlives a parent; error and cause are those of some ancestor or its
    own; everybody who waits wakes; nothing is remembered."""

    async def program() -> None:
        random = Random(seed)
        tree = grown(random, 12)
        causes = {number: KeyError(number) for number in range(len(tree))}

        async def end(number: int, seconds: int) -> None:
            await anyio.sleep(seconds)
            tree[number].cancel(causes[number])
            assert tree[number].err is not None
            check(*tree)

        async def waiter(ctx: Context) -> None:
            await ctx.done.wait()
            assert ctx.err is not None
            check(*tree)

        async with Group() as group:
            for number, ctx in enumerate(tree):
                group.go(end, number, random.randrange(4))
                group.go(waiter, ctx)
        for ctx in tree:
            assert ctx.cause is ctx.err or ctx.cause in causes.values()
            assert remembered(ctx) == 0

    explore(program, backend=backend, runs=40)


@backends
def test_interlocked_cancellations(backend: Any) -> None:
    """Those whom one wakes cancel the other, and the functions of each cancel both: it ends, everything once."""

    async def program() -> None:
        parent = background().with_cancel()
        child = parent.with_cancel()
        calls = list[str]()
        for ctx, name in ((parent, "parent"), (child, "child")):
            ctx.after_func(lambda name=name: calls.append(name))
            ctx.after_func(child.cancel)
            ctx.after_func(parent.cancel)

        async def follow(first: Context, second: CancelContext) -> None:
            await first.done.wait()
            second.cancel(KeyError())

        async def begin(ctx: CancelContext) -> None:
            await anyio.lowlevel.checkpoint()
            ctx.cancel()

        async with Group() as group:
            group.go(follow, parent, child)
            group.go(follow, child, parent)
            group.go(begin, child)
            group.go(begin, parent)
        assert sorted(calls) == ["child", "parent"]
        assert isinstance(parent.cause, Cancelled | KeyError)
        check(parent, child)

    explore(program, backend=backend, runs=40)


@backends
def test_select_over_done_and_a_channel(backend: Any) -> None:
    """Go's worker loop: a value is sent and received, or neither; the end is always seen."""

    async def program() -> None:
        ctx, jobs = background().with_timeout(1), Channel[int]()
        sent, received = list[int](), list[int]()

        async def producer() -> None:
            for job in range(5):
                match await select(send(jobs, job), ctx.done):
                    case (0, _):
                        sent.append(job)
                    case _:
                        return
                await anyio.sleep(0.4)

        async def worker() -> None:
            while True:
                match await select(jobs, ctx.done):
                    case (0, job):
                        received.append(job)
                    case _:
                        return

        async with Group() as group:
            group.go(producer)
            group.go(worker)
        assert sent == received
        check(ctx)

    explore(program, backend=backend, runs=40)


@backends
def test_deriving_while_the_parent_ends(backend: Any) -> None:
    """Whoever derives before is cancelled with it, whoever comes after is born so."""

    async def program() -> None:
        parent, made = background().with_cancel(), list[CancelContext]()

        async def derive(depth: int) -> None:
            ctx = parent
            for _ in range(depth):
                await anyio.lowlevel.checkpoint()
                ctx = ctx.with_cancel()
                made.append(ctx)
            await ctx.done.wait()

        async def end() -> None:
            await anyio.lowlevel.checkpoint()
            parent.cancel(KeyError())

        async with Group() as group:
            group.go(derive, 3)
            group.go(derive, 2)
            group.go(end)
        assert {ctx.cause for ctx in made} == {parent.cause}
        check(parent, *made)

    explore(program, backend=backend, runs=40)
