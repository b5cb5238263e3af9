"""What a select is made of: cases, and the protocol of everything that can be one.

A primitive joins ``select`` by a small subclass of ``Case`` with four methods: ``_ready`` (can it be committed now?),
``_take`` (commit it now), ``_publish`` (park this entry) and ``_result`` (turn what was committed into the user's
value, or raise). A case holds no state of the wait itself, that is in the entries of each select.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from ._core.driver import Driver, LoopBound
from ._core.waiter import SelectEntry

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


@runtime_checkable
class Selectable(Protocol[T_co]):
    """Everything that can be waited for in a select; delegate to a primitive's ``__case__`` to make your own."""

    def __case__(self) -> Case[T_co]:
        """The case that waits for it."""
        ...


class Case(Generic[T_co]):
    """One alternative of a select, made by ``send``, ``receive``, ``receive_ok`` or a primitive itself.

    A case may be used again in a later select.
    """

    __slots__ = ("_state",)

    _state: Any  # the LoopBound that it waits on

    def __case__(self) -> Case[T_co]:
        return self

    def map(self, fn: Callable[[T_co], U]) -> Case[U]:
        """The same case with its value changed by ``fn``, a plain function.

        ``fn`` runs after the commit, synchronously, in the task that selects. An exception of it comes out of the
        select; the operation stays done.
        """
        return _Mapped(self, fn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lstrip('_')} of {self._state!r}>"

    def _ready(self) -> bool:
        raise NotImplementedError

    def _take(self) -> Any:
        raise NotImplementedError

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        raise NotImplementedError

    def _result(self, value: Any) -> Any:
        return value


class _Mapped(Case[U]):
    __slots__ = ("_case", "_fn")

    def __init__(self, case: Case[Any], fn: Callable[[Any], U]) -> None:
        if not callable(fn):
            raise TypeError(f"Case.map() takes a plain function, not {fn!r}")
        self._case = case
        self._fn = fn
        self._state = case._state

    def _ready(self) -> bool:
        return self._case._ready()

    def _take(self) -> Any:
        return self._case._take()

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._case._publish(entry, driver)

    def _result(self, value: Any) -> Any:
        return self._fn(self._case._result(value))


class Nothing(LoopBound):
    """What a select without a single case waits on."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<select with no cases>"

    def forget_waiters(self) -> None: ...
