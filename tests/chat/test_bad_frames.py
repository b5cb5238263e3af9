"""What clients get wrong below the messages: how it ends, and what was still heard."""

from __future__ import annotations

import pytest
from tests.chat.test_transport import (
    Chunks,
    Make,
    behind_length,
    frame,
    prefixed,
    read_all,
    websocket,
    websocket_pb,
)  # fmt: skip
from websockets.frames import Frame, Opcode

TEXT, BINARY, CONT, PING, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.CLOSE

# For both subprotocols. M is a good message of the right kind.
M = b"M"
BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "no mask": (Frame(TEXT, b"{}").serialize(mask=False), 1002),
    "no mask, binary": (Frame(BINARY, b"{}").serialize(mask=False), 1002),
    "no mask on a ping": (Frame(PING, b"").serialize(mask=False), 1002),
    "first reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "first reserved bit, binary": (b"\xc2\x80\0\0\0\0", 1002),
    "second reserved bit": (b"\xa1\x80\0\0\0\0", 1002),
    "third reserved bit": (b"\x91\x80\0\0\0\0", 1002),
    **{f"reserved opcode {opcode}": (bytes((0x80 | opcode, 0x80)) + b"\0" * 4, 1002) for opcode in (3, 7, 11, 15)},
    "ping in fragments": (b"\x09\x80\0\0\0\0", 1002),
    "close in fragments": (b"\x08\x80\0\0\0\0", 1002),
    "ping too long": (b"\x89\xfe\0\x7e\0\0\0\0" + b"x" * 126, 1002),
    "close too long": (b"\x88\xfe\0\x7e\0\0\0\0" + b"x" * 126, 1002),
    "continuation of nothing": (frame(b"{}", CONT), 1002),
    "continuation of nothing, not the last": (frame(b"{}", CONT, False), 1002),
    "continuation after the end": (b"M" + frame(b"x", CONT), 1002),
    "close with one byte": (frame(b"\x03", CLOSE), 1002),
    "close with the code of no code": (frame(b"\x03\xed", CLOSE), 1002),
    "close with the code of a lost connection": (frame(b"\x03\xee", CLOSE), 1002),
    "close with a code below all": (frame(b"\0\1", CLOSE), 1002),
    "close with a code above all": (frame(b"\xff\xff", CLOSE), 1002),
    "close with a bad reason": (frame(b"\x03\xe8\xff", CLOSE), 1007),
    "too long by a byte": (frame(b"x" * 201, TEXT), 1009),
    "too long by a byte, binary": (frame(b"x" * 201, BINARY), 1009),
    "a header that promises too much": (b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0", 1009),
    "a length with the highest bit": (b"\x82\xff\xff" + b"\xff" * 7 + b"\0\0\0\0", 1009),
}  # fmt: skip


def in_fragments(opcode: Opcode) -> dict[str, tuple[bytes, int]]:
    return {
        "a message within fragments": (frame(b"{", opcode, False) + frame(b"{}", opcode), 1002),
        "close within fragments": (frame(b"{", opcode, False) + frame(b"\x03\xe8", CLOSE), 1002),
        "fragments too long": (frame(b"x" * 120, opcode, False) + frame(b"x" * 120, CONT), 1009),
        "fragments without end": (frame(b"x", opcode, False) + frame(b"x", CONT, False) * 200, 1009),
    }


BAD_TEXT: dict[str, tuple[bytes, int]] = {
    **in_fragments(TEXT),
    "binary": (frame(b"{}", BINARY), 1003),
    "binary in fragments": (frame(b"{", BINARY, False), 1003),
    "a binary frame without content": (frame(b"", BINARY), 1003),
    "not UTF-8": (frame(b'{"t":"\xff"}', TEXT), 1007),
    "half a character at the end": (frame(b"\xc3", TEXT), 1007),
    "a surrogate": (frame(b"\xed\xa0\x80", TEXT), 1007),
    "overlong": (frame(b"\xc0\xaf", TEXT), 1007),
    "beyond Unicode": (frame(b"\xf4\x90\x80\x80", TEXT), 1007),
    "not UTF-8, in fragments": (frame(b"\xc3", TEXT, False) + frame(b"\x28", CONT), 1007),
}
BAD_BINARY: dict[str, tuple[bytes, int]] = {
    **in_fragments(BINARY),
    "text": (frame(b"{}", TEXT), 1003),
    "text in fragments": (frame(b"{", TEXT, False), 1003),
    "a text frame without content": (frame(b"", TEXT), 1003),
    "text that is not UTF-8": (frame(b"\xff", TEXT), 1003),
}


@pytest.mark.parametrize(
    ("make", "good", "cases"),
    [(websocket, frame(b"M"), BAD_FRAMES | BAD_TEXT), (websocket_pb, frame(b"M", BINARY), BAD_FRAMES | BAD_BINARY)],
    ids=["json", "pb"],
)
async def test_bad_frames(make: Make, good: bytes, cases: dict[str, tuple[bytes, int]]) -> None:
    """Every bad frame ends the WebSocket with the code of RFC 6455; what came before it is heard, nothing after it."""
    for name, (data, code) in cases.items():
        if data.startswith(M):
            data = good + data[1:]
        heard = [b"M", b"M"] if data.startswith(good) else [b"M"]
        for step in (1, 1000):
            stream = good + data + good
            transport = make(Chunks(*[stream[at : at + step] for at in range(0, len(stream), step)]), max_size=200)
            messages, goodbye, _ = await read_all(transport)
            assert (name, messages, int(goodbye.code)) == (name, heard, code)
            farewell = transport.farewell(goodbye)
            if step == 1:  # of two mistakes in one packet the close frame may name the other one
                assert (name, farewell[0], farewell[2:4]) == (name, 0x88, code.to_bytes(2, "big"))


@pytest.mark.parametrize(("make", "opcode"), [(websocket, TEXT), (websocket_pb, BINARY)], ids=["json", "pb"])
async def test_fragments_without_content(make: Make, opcode: Opcode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that goes on for ever without getting longer ends, too."""
    monkeypatch.setattr("examples.chat.transport.websocket._MAX_FRAGMENTS", 50)
    for fragments, code in ((50, 1000), (52, 1009)):
        data = frame(b"a", opcode, False) + frame(b"", CONT, False) * (fragments - 2) + frame(b"b", CONT)
        messages, goodbye, _ = await read_all(make(Chunks(data)))
        assert (messages, int(goodbye.code)) == (([b"ab"], 1000) if code == 1000 else ([], 1009))


async def test_bad_lengths() -> None:
    """A length is what it says: too much is refused at once, nothing is an empty message."""
    for header in (b"\0\0\0\x65", b"\xff\xff\xff\xff", b"\x80\0\0\0", b'{"t"'):
        messages, goodbye, _ = await read_all(prefixed(Chunks(behind_length(b"M") + header + b"x" * 200)))
        assert (messages, int(goodbye.code)) == ([b"M"], 1009)
    assert (await read_all(prefixed(Chunks(b"\0\0\0\0" + behind_length(b"M")))))[0] == [b"", b"M"]
