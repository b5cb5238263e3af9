"""Contexts: a deadline, a cancellation and values, handed from caller to callee.

Shape
    A context is a link of a chain that never changes: what was added to which parents. What can change, whether it is
    done, is in its node (``_context_node``), which contexts that only add a value share with their parent.

Why not
    contextvars for the values: they follow the task, a context follows the call, and may be kept in an object. anyio's
    cancel scopes for the cancellation: one belongs to one task, and none can be cancelled from a plain function and
    be seen as cancelled when that returns. ``scope()`` joins the two.

Prior art
    Go's package context; ``asyncio.timeout`` and trio's scopes, which ``scope()`` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from sys import _getframe
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar, cast, final

from ._after_func import AfterFunc
from ._context_node import Never, Node
from ._context_scope import Scope
from ._context_text import light, text_of
from ._core.driver import Driver, current_driver, uninterruptible
from ._errors import ContextError, check_cause
from ._event import Signal
from ._seconds import duration

C = TypeVar("C", bound="Context")


class Context:
    """What a caller hands down: when to stop, why, and values that belong to the call.

    Made by ``background()`` and by the methods of another context. It never changes, but for being done once.

    Go: ``context.Context``, with the functions of the package as methods.

    Example:
        >>> import gochan
        >>> async def fetch(ctx: gochan.Context) -> None:
        ...     async with ctx.scope():
        ...         await gochan.sleep(60)
        >>> async def main() -> None:
        ...     with gochan.background().with_timeout(0.01) as ctx:
        ...         try:
        ...             await fetch(ctx)
        ...         except TimeoutError as error:
        ...             print(error)
        >>> gochan.run(main)
        context deadline exceeded
    """

    __slots__ = ("__weakref__", "_added", "_done", "_home", "_key", "_node", "_parents", "_value")

    _node: Node | Never
    _parents: Sequence[Context]
    _added: str  # what was added to the parents
    _key: Any  # None is no value
    _value: Any
    _home: Context | None  # the one whose node and ``done`` this has; None is itself
    _done: Signal | None

    def __init__(self) -> None:
        raise TypeError("a context is made from another one: start with gochan.background()")

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.__module__ != __name__:
            raise TypeError(
                "Context is not made to be subclassed: keep one in an attribute, and values with with_value"
            )
        super().__init_subclass__(**options)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied or pickled: contexts are shared, and derived from each other")

    # What it says.

    @property
    def done(self) -> Signal:
        """Set when it was cancelled or its deadline passed; wait for it, or select over it.

        Go: ``ctx.Done()``.
        """
        home = self if self._home is None else self._home
        signal = home._done
        if signal is None:
            signal = home._done = Signal.__new__(Signal)
            signal._state = home._node
        return signal

    @property
    def err(self) -> ContextError | None:
        """Why it is done, ``Cancelled`` or ``DeadlineExceeded``; ``None`` while it is not.

        Go: ``ctx.Err()``.
        """
        outcome = self._node.outcome if self._node.fired else None
        return None if outcome is None else light(outcome[0])

    @property
    def cause(self) -> BaseException | None:
        """What it was cancelled with; ``err`` if with nothing, ``None`` while it is not done.

        Go: ``context.Cause(ctx)``.
        """
        outcome = self._node.outcome if self._node.fired else None
        if outcome is None:
            return None
        err, cause = outcome
        return light(err) if cause is err else cause

    @property
    def deadline(self) -> float | None:
        """The loop's time (``anyio.current_time()``) at which it will be done, if nothing is faster; or ``None``.

        Go: ``ctx.Deadline()``.
        """
        return self._node.deadline

    def value(self, key: object, default: Any = None) -> Any:
        """The value that was given to ``with_value`` with this key, the nearest one; ``default`` if none was.

        Args:
            key: compared with ``==``.

        Go: ``ctx.Value(key)``.
        """
        todo: list[Context] = [self]
        seen: set[int] = set()
        while todo:
            context: Context | None = todo.pop()
            while context is not None:
                if context._key is not None and (context._key is key or context._key == key):
                    return context._value
                parents = context._parents
                context = parents[0] if len(parents) == 1 else None
                if len(parents) > 1 and id(parents) not in seen:  # a merge, perhaps of contexts with a merge above
                    seen.add(id(parents))
                    todo.extend(reversed(parents))
        return default

    # What can be derived from it.

    def with_value(self, key: object, value: Any) -> Context:
        """A context that has a value, too.

        Args:
            key: anything but ``None``; an object of your own never meets anybody else's key.

        Raises:
            TypeError: the key is ``None``.

        Go: ``context.WithValue``.

        Example:
            >>> import gochan
            >>> USER = object()
            >>> gochan.background().with_value(USER, "ann").value(USER)
            'ann'
        """
        if key is None:
            raise TypeError("the key of with_value() is anything but None")
        context = _new(Context, self._node, (self,), "with_value()")
        context._key = key
        context._value = value
        context._home = self if self._home is None else self._home
        return context

    def without_cancel(self) -> Context:
        """A context that has the values, but is never done, and has no deadline.

        Go: ``context.WithoutCancel``.
        """
        return _new(Context, Never("without_cancel()"), (self,), "without_cancel()")

    def with_cancel(self) -> CancelContext:
        """A context that ends when it is cancelled, or this one is done.

        Cancel it, or use it in a ``with``: until then, and while it is not done, its parent remembers it.

        Raises:
            RuntimeError: this context belongs to another event loop or thread.

        Go: ``context.WithCancelCause``.

        Example:
            >>> import gochan
            >>> parent = gochan.background().with_cancel()
            >>> child = parent.with_cancel()
            >>> parent.cancel()
            >>> child.done.is_set(), child.err
            (True, Cancelled('context cancelled'))
        """
        return derive((self,), "with_cancel()")

    def with_timeout(self, seconds: float, *, cause: BaseException | None = None) -> CancelContext:
        """A context that is done after so many seconds, or when it is cancelled, or this one is done.

        Args:
            seconds: from now on; none or fewer, and it is done at once. ``math.inf`` is no deadline of its own.
            cause: its ``cause`` if it ends by this deadline.

        Raises:
            RuntimeError: no event loop runs here, so there is no clock; or this context belongs to another one.
            TypeError, ValueError: no number of seconds, or no exception.

        Go: ``context.WithTimeoutCause``.
        """
        seconds = duration(seconds, "the time of with_timeout()")
        driver = _clock("with_timeout()")
        return self._with_deadline(driver, driver.clock() + seconds, cause)

    def with_deadline(self, when: float, *, cause: BaseException | None = None) -> CancelContext:
        """A context that is done at a time, or when it is cancelled, or this one is done.

        Args:
            when: of the loop's clock, ``anyio.current_time()``. If this context's deadline is earlier, that one holds.
            cause: its ``cause`` if it ends by this deadline.

        Raises:
            RuntimeError: no event loop runs here, so there is no clock; or this context belongs to another one.
            TypeError, ValueError: no time, or no exception.

        Go: ``context.WithDeadlineCause``.
        """
        when = duration(when, "the time of with_deadline()")
        return self._with_deadline(_clock("with_deadline()"), when, cause)

    @uninterruptible
    def _with_deadline(self, driver: Driver, when: float, cause: BaseException | None) -> CancelContext:
        check_cause(cause)
        self._node.own(self._node.enter())
        nearest, now = self.deadline, driver.clock()
        if when == inf or (nearest is not None and now < nearest < when):
            return derive((self,), "with_cancel()")
        context = derive((self,), "with_deadline()")
        node = context._node
        assert isinstance(node, Node)
        if nearest is None or when <= nearest:
            node.deadline = when
            node.reason = cause
        if not node.fired:
            deadline = node.deadline
            assert deadline is not None
            if deadline <= now:
                node.expire()
            else:
                node.own(driver)
                node.alarm = driver.call_at(deadline, node.expire)
        return context

    # What happens when it is done.

    def after_func(self, fn: Callable[[], Any]) -> Callable[[], bool]:
        """Have ``fn()`` called when the context is done; at once if it is.

        A plain function runs inside the ``cancel()``, after everything below the context is done. An async one runs
        as a goroutine of the nearest group here, unless that has ended by then. Both see the context variables of
        this call. What a plain function raises fails that group, as a goroutine's error would; without a group it
        goes to the loop's exception handler, or ``sys.unraisablehook``.

        Args:
            fn: takes no arguments.

        Returns:
            ``stop``: call it to keep ``fn`` from running; it says whether it did that.

        Raises:
            RuntimeError: ``fn`` is async, and there is no group; or the context belongs to another event loop.
            TypeError: ``fn`` is no function.

        Go: ``context.AfterFunc``; there every function has a goroutine of its own.

        Example:
            >>> import gochan
            >>> ctx = gochan.background().with_cancel()
            >>> stop = ctx.after_func(lambda: print("over"))
            >>> ctx.cancel()
            over
            >>> stop()
            False
        """
        return AfterFunc(self._node, fn, _getframe(1)).stop

    def scope(self) -> AbstractAsyncContextManager[None]:
        """``async with ctx.scope():`` its body is cancelled when the context is done.

        It then raises a fresh ``Cancelled`` or ``DeadlineExceeded`` like ``err``, from the ``cause``. A body that ends
        before the cancellation reaches it leaves normally. Each call makes a scope for one task, to be used once.

        Raises:
            ContextError: the body was cancelled because the context was done.

        Cancellation: an operation that has happened returns; the next one that waits is cancelled.
        Go: nothing alike; there every function looks at ``ctx.Done()`` itself.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     ctx = gochan.background().with_timeout(0.01)
            ...     try:
            ...         async with ctx.scope():
            ...             await gochan.Channel[int]().receive()
            ...     except gochan.DeadlineExceeded:
            ...         print("too late")
            >>> gochan.run(main)
            too late
        """
        return Scope(self._node)

    def __repr__(self) -> str:
        return text_of(self)


@final
class CancelContext(Context):
    """A context that can be cancelled; at the latest at the end of ``with``.

    Go: the pair that ``context.WithCancelCause`` returns.
    """

    __slots__ = ()

    def cancel(self, cause: BaseException | None = None) -> None:
        """Let it be done, with all that was derived from it, before this returns; idempotent.

        From a plain function as well, in the loop's own thread. Whoever waits is woken, in its turn; plain functions
        given to ``after_func`` have run when this returns.

        Args:
            cause: what ``cause`` will be; the first cancellation counts.

        Raises:
            RuntimeError: the context belongs to another event loop or thread.
            TypeError: the cause is no exception.

        Go: ``cancel(cause)``.
        """
        check_cause(cause)
        node = cast(Node, self._node)
        if not node.fired:
            node.may_change()
            node.cancel(cause)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


def background() -> Context:
    """The context at the root: never done, without a deadline, without values.

    Go: ``context.Background``.

    Example:
        >>> import gochan
        >>> gochan.background().with_cancel()
        background().with_cancel()
    """
    return _BACKGROUND


def todo() -> Context:
    """The same as ``background()``, where it is not yet clear which context to use.

    Go: ``context.TODO``.
    """
    return _TODO


def check_context(context: object, asker: str) -> None:
    if not isinstance(context, Context):
        raise TypeError(f"{asker} takes a context, not {context!r}: start with gochan.background()")


def _new(kind: type[C], node: Node | Never, parents: Sequence[Context], added: str) -> C:
    context = object.__new__(kind)
    context._node = node
    context._parents = parents
    context._added = added
    context._key = context._value = context._home = context._done = None
    return context


def derive(parents: Sequence[Context], added: str) -> CancelContext:
    nodes = tuple(dict.fromkeys(parent._node for parent in parents if isinstance(parent._node, Node)))
    for node in nodes:
        if node.owner is not None and not node.fired:
            node.check()
    return _new(CancelContext, Node(added, nodes), parents, added)


def _clock(asker: str) -> Driver:
    driver = current_driver()
    if driver is None:
        raise RuntimeError(
            f"{asker} goes by the clock of a running event loop, and none runs here: call it in a task of asyncio or "
            "trio"
        )
    return driver


_BACKGROUND: Final = _new(Context, Never("background()"), (), "background()")
_TODO: Final = _new(Context, Never("todo()"), (), "todo()")
