"""What a group raises of all that went wrong in it."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from gochan import Cancelled, DeadlineExceeded, Event, Group, background, go, run, select, sleep

Backend = Literal["asyncio", "trio"]
BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")


async def forever() -> None:
    await Event().wait()


async def fail(error: BaseException) -> None:
    raise error


# ---- X1 ----


async def test_the_error_of_a_result_is_told_once() -> None:
    """The body, a sibling, and one that selects raise the very error of the goroutine whose result they wait for."""
    boom = ValueError("boom")
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            failing = group.go(fail, boom)
            group.go(failing.result)

            async def selecting() -> None:
                await select(failing, None)

            group.go(selecting)
            await failing.result()
    assert caught.value.exceptions == (boom,)
    assert len(boom.__notes__) == 1, "one goroutine failed, the others heard of it"


async def test_two_errors_that_are_equal_are_two() -> None:
    """What counts is the object."""
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(fail, ValueError("boom"))
            group.go(fail, ValueError("boom"))
    assert len(caught.value.exceptions) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_main_raises_the_error_of_a_goroutine(backend: Backend) -> None:
    """It is in the group that run() raises once."""
    boom = ValueError("boom")

    async def main() -> None:
        await go(fail, boom).result()

    with pytest.raises(ExceptionGroup) as caught:
        run(main, backend=backend)
    assert caught.value.exceptions == (boom,)


# ---- X2 ----


@pytest.mark.parametrize("mode", ["all", "first"])
async def test_ctx_err_is_raised_by_a_goroutine(mode: Literal["all", "first"]) -> None:
    """As a Go function returns ctx.Err(): the group raises its context's error, alone."""
    why = KeyError("why")
    with background().with_cancel() as ctx, anyio.fail_after(5), pytest.raises(Cancelled) as caught:
        async with Group(ctx=ctx, errors=mode) as group:

            async def worker() -> None:
                await group.ctx.done.wait()
                assert group.ctx.err is not None
                raise group.ctx.err

            group.go(worker)
            group.go(worker)
            await sleep(0)
            ctx.cancel(why)
            await ctx.done.wait()
            assert ctx.err is not None
            raise ctx.err
    assert caught.value.__cause__ is why


async def test_groups_within_groups_under_one_context() -> None:
    """The errors of the inner ones, bare or in groups, are the outer one's own."""
    with background().with_cancel() as ctx, anyio.fail_after(5), pytest.raises(Cancelled):
        async with Group(ctx=ctx) as group:

            async def with_the_same() -> None:
                async with Group(ctx=ctx) as inner:
                    inner.go(forever)

            async def with_one_below() -> None:
                async with Group() as inner:
                    child = group.ctx.with_cancel()

                    async def worker() -> None:
                        await child.done.wait()
                        assert child.err is not None
                        raise child.err

                    inner.go(worker)

            group.go(with_the_same)
            group.go(with_one_below)
            await anyio.sleep(0.001)
            ctx.cancel()


@pytest.mark.gochan(virtual_time=True)
async def test_other_errors_come_with_it() -> None:
    """Of a group within, what has nothing to do with the context stays."""
    with anyio.fail_after(100), pytest.raises(ExceptionGroup) as caught:
        async with Group(ctx=background().with_timeout(1)) as group:

            async def failing() -> None:
                await group.ctx.done.wait()
                assert group.ctx.err is not None
                raise ExceptionGroup("two", [group.ctx.err, ValueError("boom")])

            group.go(failing)
    of_context, rest = caught.value.exceptions
    assert isinstance(of_context, DeadlineExceeded)
    assert repr(rest) == "ExceptionGroup('two', [ValueError('boom')])"


async def group_whose_worker_raises_ctx_err(ending: str, boom: ValueError) -> None:
    async with Group() as group:

        async def worker() -> None:
            await group.ctx.done.wait()
            assert group.ctx.err is not None
            raise group.ctx.err

        group.go(worker)
        await sleep(0)
        if ending == "failure":
            group.go(fail, boom)
        else:
            group.cancel()
            if "body" in ending:
                await worker()


@pytest.mark.parametrize("ending", ["cancel", "cancel, raised by the body"])
async def test_the_error_of_the_groups_own_context_after_cancel(ending: str) -> None:
    """The group ends quietly nevertheless."""
    with anyio.fail_after(5):
        await group_whose_worker_raises_ctx_err(ending, ValueError())
        await anyio.sleep(0)  # and no cancellation is left behind


async def test_the_error_of_the_groups_own_context_after_a_failure() -> None:
    """The failure is raised alone."""
    boom = ValueError("boom")
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await group_whose_worker_raises_ctx_err("failure", boom)
    assert caught.value.exceptions == (boom,)


async def test_the_error_of_another_context_is_a_failure() -> None:
    """A deadline of a goroutine's own, though below the group's context, and a Cancelled from elsewhere."""
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as late:
        async with Group() as group:

            async def work() -> None:
                async with group.ctx.with_timeout(0).scope():
                    await forever()

            group.go(work)
    assert [type(error) for error in late.value.exceptions] == [DeadlineExceeded]
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as cancelled:
        async with Group() as group:
            assert group.ctx.err is None
            group.go(fail, Cancelled("elsewhere"))
    assert [str(error) for error in cancelled.value.exceptions] == ["elsewhere"]


# ---- X3 ----


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_ends_the_program_wins_over_the_first_error(backend: Backend, nested: bool) -> None:
    """With errors="first", too, a SystemExit that comes second comes out of run(), bare."""

    async def exits() -> None:
        try:
            await forever()
        finally:
            raise SystemExit(3)

    async def exits_inside() -> None:
        async with Group() as inner:
            inner.go(exits)

    async def main() -> None:
        async with Group(errors="first") as group:
            group.go(exits_inside if nested else exits)
            await anyio.sleep(0)
            await anyio.sleep(0)
            group.go(fail, ValueError("boom"))

    with pytest.raises(SystemExit) as caught:
        run(main, backend=backend)
    assert caught.value.code == 3


# ---- causes ----


@pytest.mark.parametrize("bad", ["why", 3, ValueError])
async def test_a_cause_that_is_no_exception(bad: Any) -> None:
    """Refused, and nothing has happened: neither to the group nor to a goroutine."""
    with anyio.fail_after(5):
        async with Group() as group:
            assert not group.ctx.done.is_set()
            goroutine = group.go(forever)
            await sleep(0)
            with pytest.raises(TypeError, match="the cause is"):
                group.cancel(bad)
            with pytest.raises(TypeError, match="the cause is"):
                goroutine.cancel(bad)
            assert group.ctx.err is None
            assert not goroutine.done.is_set()
            group.cancel()


async def test_a_function_of_the_context_cannot_keep_the_group_from_ending() -> None:
    """Registered outside all groups, it may raise out of cancel(); the goroutines are cancelled nevertheless."""
    group = Group()

    def exits() -> None:
        raise SystemExit

    group.ctx.after_func(exits)
    with anyio.fail_after(5):
        async with group:
            group.go(forever)
            await sleep(0)
            with pytest.raises(SystemExit):
                group.cancel()
