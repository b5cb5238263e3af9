"""Tokens: a schedule as a short text, ``gc1:asyncio:m5zu1AEC``.

Shape
    The version, the backend, and in URL-safe base64: two bytes that check the text, two that check the program,
    then the answers of the run as pairs of small numbers: so many zeros, then this one. Zeros at the end are left
    out. A number takes 7 bits a byte, as in protobuf.

Why two checks
    A token that was cut off by a terminal is refused. A token that was made by a program that has changed since is
    not: running it is how one sees that the bug is gone. But whoever runs it is told that it no longer fits.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast
from zlib import crc32

VERSION: Final = "gc1"
Backend = Literal["asyncio", "trio"]
_BACKENDS: Final[dict[str, Backend]] = {"asyncio": "asyncio", "trio": "trio"}


@dataclass(frozen=True)
class Token:
    """A schedule that can be run again."""

    backend: Backend
    values: tuple[int, ...]
    shape: int  # of the questions that were asked; see shape_of

    def __str__(self) -> str:
        body = self.shape.to_bytes(2, "big") + _pack(self.values)
        check = _check(self.backend, body).to_bytes(2, "big")
        return f"{VERSION}:{self.backend}:{base64.urlsafe_b64encode(check + body).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str, backend: str | None = None) -> Token:
        """Read a token, made for ``backend`` if one is given.

        Raises:
            TypeError: it is no text.
            ValueError: it is broken, of another version, or of another backend.
        """
        if not isinstance(cast("object", text), str):
            raise TypeError(f"a schedule token is a text, which looks like {VERSION}:asyncio:m5zu1AEC, not {text!r}")
        version, _, rest = text.strip().partition(":")
        name, _, payload = rest.partition(":")
        if version != VERSION:
            if version.startswith("gc") and version[2:].isdigit():
                raise ValueError(
                    f"the schedule token {text!r} was made by another version of gochan ({version}, here it is "
                    f"{VERSION}): explore again to get a new one"
                )
            raise ValueError(f"{text!r} is not a schedule token, which looks like {VERSION}:asyncio:m5zu1AEC")
        made_for = _BACKENDS.get(name)
        if made_for is None:
            raise ValueError(f"the schedule token {text!r} is for the backend {name!r}, which there is not")
        if backend is not None and made_for != backend:
            raise ValueError(
                f"the schedule token {text!r} was made on {made_for} and cannot be replayed on {backend}: "
                f"pass backend={made_for!r}"
            )
        try:
            raw = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
            check, body = int.from_bytes(raw[:2], "big"), raw[2:]
            if len(body) < 2 or check != _check(made_for, body):
                raise ValueError("checksum")
            token = cls(made_for, tuple(_unpack(body[2:])), int.from_bytes(body[:2], "big"))
        except (ValueError, binascii.Error):
            raise ValueError(f"the schedule token {text!r} is broken: copy all of it") from None
        return token


def shape_of(questions: Iterable[tuple[str, int]]) -> int:
    """A number that differs, most likely, for a program that asks other questions (kind, number of options)."""
    return crc32(" ".join(f"{kind}{number}" for kind, number in questions).encode()) & 0xFFFF


def trimmed(values: Sequence[int]) -> list[int]:
    """Without the zeros at the end, which a replay adds by itself."""
    end = len(values)
    while end and not values[end - 1]:
        end -= 1
    return list(values[:end])


def _check(backend: str, body: bytes) -> int:
    return crc32(body, crc32(backend.encode())) & 0xFFFF


def _pack(values: Sequence[int]) -> bytes:
    packed, zeros = bytearray(), 0
    for value in values:
        if value:
            packed += _number(zeros) + _number(value)
            zeros = 0
        else:
            zeros += 1
    return bytes(packed)


def _number(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _unpack(packed: bytes) -> list[int]:
    numbers, number, shift = list[int](), 0, 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(number)
            number = shift = 0
    if shift or len(numbers) % 2:
        raise ValueError("cut off")
    values = list[int]()
    for zeros, value in zip(numbers[::2], numbers[1::2], strict=True):
        if len(values) + zeros > 10_000_000:
            raise ValueError("not a schedule")
        values += [0] * zeros
        values.append(value)
    return values
