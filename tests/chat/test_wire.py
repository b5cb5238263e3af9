"""The protocol's bytes: every test runs with msgspec and with the standard library alone, which must mean the same."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from examples.chat import wire as with_msgspec


def load_without_msgspec() -> ModuleType:
    """The module as it is where msgspec is not installed."""
    spec = with_msgspec.__spec__
    assert spec is not None
    spec = importlib.util.spec_from_file_location("examples.chat.wire_without_msgspec", spec.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    saved = sys.modules.get("msgspec")
    sys.modules["msgspec"] = None  # type: ignore[assignment]
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
        del sys.modules["msgspec"]
        if saved is not None:
            sys.modules["msgspec"] = saved
    return module


without_msgspec = load_without_msgspec()
WIRES = {"msgspec": with_msgspec, "stdlib": without_msgspec}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Any:
    return WIRES[request.param]


def test_the_two_differ() -> None:
    """The tests below do test two implementations."""
    assert with_msgspec.msgspec is not None
    assert without_msgspec.msgspec is None
    assert with_msgspec.dumps is not without_msgspec.dumps


def test_commands(wire: Any) -> None:
    """Every command is read, with fields it does not know left out."""
    for message, command in (
        ({"t": "hello", "v": 1, "user": "Ünï cödé"}, wire.Hello("Ünï cödé")),
        ({"t": "join", "id": 0, "room": "lobby"}, wire.Join(0, "lobby")),
        ({"t": "leave", "id": 2**53 - 1, "room": "a.b-c_9"}, wire.Leave(2**53 - 1, "a.b-c_9")),
        ({"t": "who", "id": "x" * 64, "room": "x" * 64}, wire.Who("x" * 64, "x" * 64)),
        ({"t": "say", "id": "🐟", "room": "lobby", "body": "\0\n🐟" * 2000}, wire.Say("🐟", "lobby", "\0\n🐟" * 2000)),
        ({"t": "ping", "n": 0}, wire.Ping(0)),
        ({"t": "pong", "n": 2**53 - 1}, wire.Pong(2**53 - 1)),
        ({"t": "bye", "id": []}, wire.Bye()),
    ):
        for ascii in (True, False):
            payload = json.dumps({"new": [None, {}], **message}, ensure_ascii=ascii).encode()
            assert wire.decode(payload) == command
            assert wire.decode(bytearray(b" " + payload + b"\r")) == command


@pytest.mark.parametrize(
    "payload",
    [
        b"", b" ", b"x", b"{", b"[]", b"1", b"null", b'"t"', b"{}{}", b"{'t': 1}", b'{"t":"bye",}', b"\xef\xbb\xbf{}",
        b'{"t":"ping","n":NaN}', b'{"t":"ping","n":Infinity}', b'{"t":"ping","n":01}', b'{"t":"\xff"}', b'{"t":"\x01"}',
        b'{"t":"hello","v":1,"user":"\\udc00"}', b"[" * 100_000, b'{"a":' * 10_000, b'{"n":' + b"1" * 100_000 + b"}",
        "{}".encode("utf-16"), b'{"t": "bye" /* */}', b'{"t":"\\x41"}',
    ],
)  # fmt: skip
def test_not_json(wire: Any, payload: bytes) -> None:
    """Whatever is no JSON object in UTF-8 is a bad request."""
    with pytest.raises(wire.WireError) as refused:
        wire.decode(payload)
    assert refused.value.code == 400
    assert refused.value.id is None


@pytest.mark.parametrize(
    ("payload", "id"),
    [
        (b'{"t":"what","id":7}', 7),
        (b'{"t":"what","id":"seven"}', "seven"),
        (b'{"t":"what","id":-7}', None),
        (b'{"t":"what","id":true}', None),
        (b'{"t":"what","id":7.0}', None),
        (b'{"t":"what","id":["7"]}', None),
        (b'{"t":"what","id":9007199254740992}', None),
    ],
)
def test_errors_carry_the_id(wire: Any, payload: bytes, id: Any) -> None:
    """An error says to which message it belongs, if that had a proper id."""
    with pytest.raises(wire.WireError) as refused:
        wire.decode(payload)
    answer = wire.err(refused.value)
    assert answer["code"] == 404
    assert answer.get("id") == id
    assert ("id" in answer) == (id is not None)


def test_answers(wire: Any) -> None:
    """What servers say, field by field."""
    goodbye = wire.Goodbye(wire.Close.SLOW, "too slow")
    for message, expected in (
        (wire.joined(1, "lobby", ["a"]), {"t": "joined", "id": 1, "room": "lobby", "members": ["a"]}),
        (wire.members("m", "lobby", []), {"t": "members", "id": "m", "room": "lobby", "members": []}),
        (wire.ack(1, "lobby"), {"t": "ack", "id": 1, "room": "lobby"}),
        (wire.msg("lobby", "a", "hi\n", 5, 1),
         {"t": "msg", "room": "lobby", "from": "a", "body": "hi\n", "ts": 5, "id": 1}),
        (wire.pres("lobby", leave=["a"]), {"t": "pres", "room": "lobby", "join": [], "leave": ["a"]}),
        (wire.pong(3), {"t": "pong", "n": 3}),
        (wire.goaway(goodbye), {"t": "goaway", "code": 4008, "reason": "too slow", "after_ms": 0, "resume": False}),
        (wire.err(wire.WireError(wire.Code.LIMIT, "no")), {"t": "err", "code": 422, "msg": "no", "temp": False}),
    ):  # fmt: skip
        encoded = wire.Encoded(message)
        assert json.loads(encoded.payload) == expected
        assert b"\n" not in encoded.payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_frames(wire: Any, size: int) -> None:
    """A frame is byte for byte what the library would make, and is made once for everybody."""
    payload = b"x" * size
    assert wire.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    encoded = wire.Encoded(wire.pong(size))
    for framing, bytes in ((wire.Framing.LINES, encoded.payload + b"\n"),
                           (wire.Framing.WEBSOCKET, wire.text_frame(encoded.payload))):  # fmt: skip
        assert encoded.framed(framing) == bytes
        assert encoded.framed(framing) is encoded.framed(framing)


def outcome(wire: Any, payload: bytes) -> Any:
    try:
        command = wire.decode(payload)
    except wire.WireError as error:
        return int(error.code), error.id
    return type(command).__name__, {name: getattr(command, name) for name in type(command).__slots__}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["lobby", "hello", "say", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
messages = st.fixed_dictionaries(
    {"t": st.sampled_from(["hello", "join", "leave", "who", "say", "ping", "pong", "bye"]) | values},
    optional=dict.fromkeys(("v", "id", "room", "user", "body", "n"), values),
)


@given(messages)
def test_both_agree_on_messages(message: dict[str, Any]) -> None:
    """A message means the same, or is refused alike, with and without msgspec."""
    payload = json.dumps(message).encode()
    assert outcome(with_msgspec, payload) == outcome(without_msgspec, payload)


@given(messages, st.integers(0, 200), st.binary(max_size=3))
def test_both_agree_on_damage(message: dict[str, Any], at: int, damage: bytes) -> None:
    """So does one that was damaged on the way; nothing but a WireError comes out."""
    payload = bytearray(json.dumps(message, ensure_ascii=False).encode(errors="surrogatepass"))
    payload[at : at + len(damage)] = damage
    assert outcome(with_msgspec, bytes(payload)) == outcome(without_msgspec, bytes(payload))
