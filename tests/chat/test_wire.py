"""The protocol's bytes: every test runs with msgspec and with the standard library alone, which must mean the same."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from examples.chat import wire
from examples.chat.wire import json_codec as with_msgspec


def load_without_msgspec() -> ModuleType:
    """The module as it is where msgspec is not installed."""
    spec = with_msgspec.__spec__
    assert spec is not None
    spec = importlib.util.spec_from_file_location("examples.chat.wire.json_codec_without_msgspec", spec.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    saved = sys.modules.get("msgspec")
    sys.modules["msgspec"] = None  # type: ignore[assignment]
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["msgspec"]
        if saved is not None:
            sys.modules["msgspec"] = saved
    return module


without_msgspec: Any = load_without_msgspec()
TP = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CODECS: dict[str, wire.Codec] = {"msgspec": wire.JSON, "stdlib": without_msgspec.JSON}


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> wire.Codec:
    return CODECS[request.param]


def test_the_two_differ() -> None:
    """The tests below do test two implementations."""
    assert with_msgspec.msgspec is not None
    assert without_msgspec.msgspec is None
    assert with_msgspec.dumps is not without_msgspec.dumps


def test_commands(codec: wire.Codec) -> None:
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
        ({"t": "hello", "v": 1, "user": "a", "token": "t", "sid": "s", "secret": "x", "caps": ["a", ""]},
         wire.Hello("a", "t", "s", "x", ("a", ""))),
        ({"t": "hello", "v": 1, "user": "a", "token": None, "caps": None}, wire.Hello("a")),
        ({"t": "join", "id": 0, "room": "r", "since": {"off": 0, "ep": "e", "x": 1}, "limit": 0},
         wire.Join(0, "r", wire.Pos(0, "e"), 0)),
        ({"t": "join", "id": 0, "room": "r", "since": None, "limit": None}, wire.Join(0, "r")),
        ({"t": "history", "id": 0, "room": "r"}, wire.History(0, "r")),
        ({"t": "history", "id": 0, "room": "r", "since": {"off": 9, "ep": "e"}, "limit": 5, "rev": True},
         wire.History(0, "r", wire.Pos(9, "e"), 5, True)),
        ({"t": "say", "id": 1, "room": "r", "body": "b", "tp": TP}, wire.Say(1, "r", "b", TP)),
        ({"t": "say", "id": 1, "room": "r", "body": "b", "tp": "ff" + TP[2:]}, wire.Say(1, "r", "b")),
        ({"t": "say", "id": 1, "room": "r", "body": "b", "tp": ""}, wire.Say(1, "r", "b")),
        ({"t": "dm", "id": 1, "to": "Ünï", "body": "b"}, wire.Dm(1, "Ünï", "b")),
    ):  # fmt: skip
        for ascii in (True, False):
            payload = json.dumps({"new": [None, {}], **message}, ensure_ascii=ascii).encode()
            assert codec.decode(payload) == command
            assert codec.decode(bytearray(b" " + payload + b"\r")) == command


@pytest.mark.parametrize(
    "payload",
    [
        b"", b" ", b"x", b"{", b"[]", b"1", b"null", b'"t"', b"{}{}", b"{'t': 1}", b'{"t":"bye",}', b"\xef\xbb\xbf{}",
        b'{"t":"ping","n":NaN}', b'{"t":"ping","n":Infinity}', b'{"t":"ping","n":01}', b'{"t":"\xff"}', b'{"t":"\x01"}',
        b'{"t":"hello","v":1,"user":"\\udc00"}', b"[" * 100_000, b'{"a":' * 10_000, b'{"n":' + b"1" * 100_000 + b"}",
        "{}".encode("utf-16"), b'{"t": "bye" /* */}', b'{"t":"\\x41"}',
    ],
)  # fmt: skip
def test_not_json(codec: wire.Codec, payload: bytes) -> None:
    """Whatever is no JSON object in UTF-8 is a bad request."""
    with pytest.raises(wire.WireError) as refused:
        codec.decode(payload)
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
def test_errors_carry_the_id(codec: wire.Codec, payload: bytes, id: Any) -> None:
    """An error says to which message it belongs, if that had a proper id."""
    with pytest.raises(wire.WireError) as refused:
        codec.decode(payload)
    answer = wire.err(refused.value)
    assert answer["code"] == 404
    assert answer.get("id") == id
    assert ("id" in answer) == (id is not None)


def test_answers(codec: wire.Codec) -> None:
    """What servers say, field by field, and nothing that was not given."""
    pos = wire.Pos(7, "e")
    msg = {"t": "msg", "room": "lobby", "off": 7, "ep": "e", "from": "a", "body": "hi\n", "ts": 5, "id": 1}
    for message, expected in (
        (wire.welcome("s", "n", 9),
         {"t": "welcome", "sid": "s", "node": "n", "lim": {"size": 9, "body": 8000, "user": 32}, "resumed": False}),
        (wire.welcome("s", "n", 9, secret="x", interval=25.0, min_timeout=2.0, rate=20.0, burst=40, rooms=8,
                      resumed=True),
         {"t": "welcome", "sid": "s", "secret": "x", "node": "n", "hb": {"ival": 25.0, "min_to": 2.0}, "resumed": True,
          "lim": {"size": 9, "body": 8000, "user": 32, "rate": 20.0, "burst": 40, "rooms": 8}}),
        (wire.joined(1, "lobby", ["a"]), {"t": "joined", "id": 1, "room": "lobby", "msgs": [], "members": ["a"]}),
        (wire.joined(1, "lobby", pos=pos, rec=False, msgs=[msg]),
         {"t": "joined", "id": 1, "room": "lobby", "off": 7, "ep": "e", "rec": False, "msgs": [msg]}),
        (wire.members("m", "lobby", []), {"t": "members", "id": "m", "room": "lobby", "members": []}),
        (wire.history(0, "lobby", pos, [msg], False),
         {"t": "history", "id": 0, "room": "lobby", "off": 7, "ep": "e", "msgs": [msg], "complete": False}),
        (wire.ack(1, "lobby"), {"t": "ack", "id": 1, "room": "lobby"}),
        (wire.ack(1, "lobby", pos=pos, dup=True),
         {"t": "ack", "id": 1, "room": "lobby", "off": 7, "ep": "e", "dup": True}),
        (wire.ack(1, delivered=2), {"t": "ack", "id": 1, "delivered": 2}),
        (wire.msg("lobby", "a", "hi\n", 5, 1, pos=pos), msg),
        (wire.published("lobby", pos, {"from": "a", "body": "hi\n", "ts": 5, "id": 1}), msg),
        (wire.dm("a", "hi", 5), {"t": "dm", "from": "a", "body": "hi", "ts": 5}),
        (wire.pres("lobby", leave=["a"]), {"t": "pres", "room": "lobby", "join": [], "leave": ["a"]}),
        (wire.lag("lobby", 3), {"t": "lag", "room": "lobby", "n": 3}),
        (wire.resync("lobby"), {"t": "resync", "room": "lobby"}),
        (wire.ping(3), {"t": "ping", "n": 3}),
        (wire.pong(3), {"t": "pong", "n": 3}),
        (wire.goaway(wire.Goodbye(wire.Close.SLOW, "too slow")),
         {"t": "goaway", "code": 4008, "reason": "too slow", "after_ms": 0, "resume": False}),
        (wire.goaway(wire.Goodbye(wire.Close.SHUTDOWN, "bye", after_ms=100, resume=True)),
         {"t": "goaway", "code": 4001, "reason": "bye", "after_ms": 100, "resume": True}),
        (wire.err(wire.WireError(wire.Code.LIMIT, "no")), {"t": "err", "code": 422, "msg": "no", "temp": False}),
        (wire.err(wire.WireError(wire.Code.RATE_LIMITED, "no", "i", retry_ms=50)),
         {"t": "err", "code": 429, "msg": "no", "temp": True, "id": "i", "retry_ms": 50}),
    ):  # fmt: skip
        payload = codec.encode(message)
        assert json.loads(payload) == expected
        assert codec.loads(payload) == expected
        assert b"\n" not in payload


def test_codes() -> None:
    """Which errors pass with time, and after which ends a client may come back."""
    assert [int(code) for code in wire.Code if code.temporary] == [429, 500, 503, 504]
    assert [int(code) for code in wire.Close if code.reconnect] == [4000, 4001, 4008, 4009, 4010, 4012, 4013, 4014]


@pytest.mark.parametrize("size", [0, 1, 109, 110, 111, 65519, 65520, 200_000])
def test_frames(size: int) -> None:
    """A frame is byte for byte what the library would make, and is made once for everybody."""
    message = {"t": "x", "x": "x" * size}
    encoded = wire.Encoded(message)
    payload = wire.JSON.encode(message)
    assert encoded.payload == payload
    for framing, expected in (
        (wire.Framing.LINES, payload + b"\n"),
        (wire.Framing.PREFIXED, struct.pack("!I", len(payload)) + payload),
        (wire.Framing.WEBSOCKET, Frame(Opcode.TEXT, payload).serialize(mask=False)),
    ):
        assert encoded.framed(framing) == expected
        assert encoded.framed(framing) is encoded.framed(framing, wire.JSON)
    binary = Frame(Opcode.BINARY, payload).serialize(mask=False)
    assert wire.enframe(payload, wire.Framing.WEBSOCKET, binary=True) == binary


def outcome(codec: wire.Codec, payload: bytes) -> Any:
    try:
        return codec.decode(payload)
    except wire.WireError as error:
        return error.code, error.id


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["lobby", "hello", "say", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
messages = st.fixed_dictionaries(
    {"t": st.sampled_from(["hello", "join", "leave", "who", "history", "say", "dm", "ping", "pong", "bye"]) | values},
    optional=dict.fromkeys(("v", "id", "room", "user", "to", "body", "n", "since", "limit", "caps", "rev"), values),
)


@given(messages)
def test_both_agree_on_messages(message: dict[str, Any]) -> None:
    """A message means the same, or is refused alike, with and without msgspec."""
    payload = json.dumps(message).encode()
    assert outcome(CODECS["msgspec"], payload) == outcome(CODECS["stdlib"], payload)


@given(messages, st.integers(0, 200), st.binary(max_size=3))
def test_both_agree_on_damage(message: dict[str, Any], at: int, damage: bytes) -> None:
    """So does one that was damaged on the way; nothing but a WireError comes out."""
    payload = bytearray(json.dumps(message, ensure_ascii=False).encode(errors="surrogatepass"))
    payload[at : at + len(damage)] = damage
    assert outcome(CODECS["msgspec"], bytes(payload)) == outcome(CODECS["stdlib"], bytes(payload))
