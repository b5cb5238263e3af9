"""A channel's cases of a select, when it cannot be its own: to send, to receive with the ok flag, to be mapped."""

from __future__ import annotations

from typing import Any, TypeVar

from ._case import Case
from ._channel_state import CLOSED
from ._core.driver import Driver
from ._core.waiter import SelectEntry

T = TypeVar("T")


class ReceiveCase(Case[T]):
    """Receive, as a case of a select."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._state = channel._state

    def _ready(self) -> bool:
        ready: bool = self._channel._ready()
        return ready

    def _take(self) -> Any:
        return self._channel._take()

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._channel._publish(entry, driver)

    def _result(self, value: Any) -> Any:
        return self._channel._result(value)


class ReceiveOkCase(ReceiveCase[Any]):
    """Receive with the ok flag, as a case of a select."""

    __slots__ = ()

    def _result(self, value: Any) -> Any:
        return (None, False) if value is CLOSED else (self._channel._result(value), True)


class SendCase(Case[None]):
    """Send, as a case of a select."""

    __slots__ = ("_channel", "_item")

    def __init__(self, channel: Any, item: object) -> None:
        self._channel = channel
        self._item = item
        self._state = channel._state

    def _ready(self) -> bool:
        ready: bool = self._state.can_put()
        return ready

    def _take(self) -> Any:
        return self._state.put(self._item)

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = self._item
        self._state.sending(driver).append(entry)

    def _result(self, value: Any) -> None:
        if value is CLOSED:
            raise self._channel._closed("send on a closed channel")
