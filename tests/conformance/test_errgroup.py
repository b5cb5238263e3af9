"""golang.org/x/sync/errgroup: errors, contexts, limits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import anyio
import pytest
from tests.conformance.helpers import bounded, settle, until

from gochan import Cancelled, Channel, Event, Group, background, receive_ok, select, send


async def give(error: Exception | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("errors", "first"),
    [([], None), ([None], None), ([1], 1), ([1, None], 1), ([None, 1, None], 1), ([None, 1, 2], 1)],
)
@bounded
async def test_the_first_error_in_time_is_raised(errors: Sequence[int | None], first: int | None) -> None:
    """TestZeroGroup: with `errors="first"`, that one itself; no error, no exception."""
    known = {number: ValueError(number) for number in errors if number is not None}
    raised: BaseException | None = None
    try:
        async with Group(errors="first") as group:
            for number in errors:
                group.go(give, known.get(number) if number is not None else None)
                await settle(2)
    except BaseException as error:
        raised = error
    assert raised is (None if first is None else known[first])


@pytest.mark.parametrize("failing", [(), (1,), (2,), (1, 2)])
@bounded
async def test_the_context_ends_with_the_first_error_or_the_group(failing: tuple[int, ...]) -> None:
    """TestWithContext, TestCancelCause: its cause is the first error; Cancelled when all went well."""
    errors = {number: ValueError(number) for number in failing}
    raised: list[BaseException] = []
    group = Group()
    try:
        async with group:
            ctx = group.ctx
            for number in (1, 2):
                group.go(give, errors.get(number))
            assert ctx.err is None
    except* ValueError as caught:
        raised += caught.exceptions
    assert ctx.done.is_set()
    assert isinstance(ctx.err, Cancelled)
    if failing:
        assert ctx.cause is raised[0]  # on trio, who of two runs first is drawn
        assert raised[0] in errors.values()
    else:
        assert isinstance(ctx.cause, Cancelled)
        assert not raised


@bounded
async def test_try_go_starts_only_where_there_is_a_place() -> None:
    """TestTryGo: 42 places, and none more, until one ends."""
    limit = 42
    release = Channel[None]()
    started = 0

    async def work() -> None:
        nonlocal started
        started += 1
        await release.receive_ok()

    async with Group(limit=limit) as group:
        assert all(group.try_go(work) is not None for _ in range(limit))
        assert group.try_go(work) is None
        await until(lambda: started == limit)
        await release.send(None)
        await until(lambda: group.try_go(work) is not None)
        assert group.try_go(work) is None
        release.close()


@bounded
async def test_never_more_than_the_limit_run() -> None:
    """TestGoLimit: 1,025 goroutines, ten at a time."""
    limit, active, most, ended = 10, 0, 0, 0

    async def work() -> None:
        nonlocal active, most, ended
        active += 1
        most = max(most, active)
        await anyio.lowlevel.checkpoint()
        active -= 1
        ended += 1

    async with Group(limit=limit) as group:
        for number in range(1_025):
            if number % 2:
                group.go(work)
            else:
                await group.go_when_free(work)
    assert most == limit
    assert ended == 1_025


@bounded
async def test_errors_of_all_are_kept_unless_the_first_is_asked_for() -> None:
    """Go drops the others; here `errors="all"`, the default, keeps what fails in its clean-up, too."""

    async def fails_when_cancelled() -> None:
        try:
            await Event().wait()
        finally:
            raise KeyError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(fails_when_cancelled)
            await settle(2)
            group.go(give, ValueError("first"))
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


@bounded
async def test_independent_searches() -> None:
    """ExampleGroup_parallel: results of several searches, in the order of the question, or the first failure."""

    async def search(kind: str) -> str:
        await anyio.lowlevel.checkpoint()
        return f"{kind} result"

    kinds = ("web", "image", "video")
    async with Group() as group:
        searches = [group.go(search, kind) for kind in kinds]
    assert [await one.result() for one in searches] == [f"{kind} result" for kind in kinds]


@bounded
async def test_a_pipeline_stops_when_one_stage_fails() -> None:
    """ExampleGroup_pipeline: walk, digest with 20 workers, collect; a failing digest stops the walk as well."""
    files = {f"file{number}": bytes([number]) for number in range(100)}

    async def digest_all(broken: str | None) -> dict[str, str]:
        digests: dict[str, str] = {}
        paths, results = Channel[str](), Channel[tuple[str, str]]()

        async def walk() -> None:
            with paths:
                for path in files:
                    match await select(send(paths, path), group.ctx.done):
                        case (0, _):
                            pass
                        case (1, _):
                            return
                        case _:
                            raise AssertionError

        async def digest() -> None:
            async for path in paths:
                if path == broken:
                    raise OSError(path)
                await results.send((path, hashlib.sha256(files[path]).hexdigest()))

        async def workers() -> None:
            with results:
                async with Group() as inner:
                    for _ in range(20):
                        inner.go(digest)

        async with Group() as group:
            group.go(walk)
            group.go(workers)
            while True:
                match await select(receive_ok(results)):
                    case (0, ((path, digest_of), True)):
                        digests[path] = digest_of
                    case _:
                        break
        return digests

    assert set(await digest_all(None)) == set(files)
    with pytest.raises(ExceptionGroup) as caught:
        await digest_all("file50")
    assert caught.group_contains(OSError, match="file50")


@bounded
async def test_the_context_above_ends_the_group() -> None:
    """What Go leaves to each goroutine: when `ctx` is done they are cancelled, and the group raises its error."""
    ctx = background().with_cancel()
    with pytest.raises(Cancelled) as caught:
        async with Group(ctx=ctx) as group:
            sleeper = group.go(Event().wait)
            await settle(2)
            ctx.cancel(KeyError("over"))
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value is not ctx.err
    with pytest.raises(Cancelled):
        await sleeper.result()
