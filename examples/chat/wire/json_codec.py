"""JSON: one object per message, whose ``t`` is its name.

Parsing is msgspec's where it is installed, the standard library's else. Nothing but speed may tell one from the other,
so what a message means is judged elsewhere (``commands``), and msgspec's own validation is not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, cast

from .commands import Command, Json, command
from .errors import Code, WireError

msgspec: Any
try:
    import msgspec
except ImportError:  # the chat runs without it, a little slower
    msgspec = None


class JsonCodec:
    """Messages as JSON."""

    name = "json"
    binary = False

    def decode(self, payload: bytes | bytearray) -> Command:
        """The command in one message of a client."""
        return command(loads(payload))

    def loads(self, payload: bytes | bytearray) -> Json:
        """Any message, unjudged."""
        return loads(payload)

    def encode(self, message: Json) -> bytes:
        """A message of either side: one line, without its end."""
        return dumps(message)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _loads_stdlib(payload: bytes | bytearray) -> Any:
    text = payload.decode()
    value = json.loads(text, parse_constant=_no_constant)
    # "\ud800" is half a character: it could be read, but never sent on.
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _dumps_stdlib(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


_parse: Callable[[bytes | bytearray], Any] = _loads_stdlib
dumps: Callable[[Json], bytes] = _dumps_stdlib
if msgspec is not None:
    _parse, dumps = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


def loads(payload: bytes | bytearray) -> Json:
    """The JSON object in one message.

    Raises:
        WireError: it is something else.
    """
    try:
        message = _parse(payload)
    except UnicodeDecodeError:
        raise WireError(Code.BAD_REQUEST, "this is not UTF-8") from None
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        raise WireError(Code.BAD_REQUEST, "this is not JSON") from None
    if not isinstance(message, dict):
        raise WireError(Code.BAD_REQUEST, "a message is a JSON object")
    return cast("Json", message)


JSON: Final = JsonCodec()
