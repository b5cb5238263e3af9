"""The two formats, JSON and Protobuf: every message means the same in both, and every mistake has the same code."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from examples.chat import wire
from examples.chat.wire import proto_file
from examples.chat.wire.protobuf_codec import PROTOBUF

JSON = wire.JSON
SAY: wire.Json = {"t": "say", "id": 1, "room": "lobby", "body": "hi"}
JOIN: wire.Json = {"t": "join", "id": 1, "room": "lobby"}
HELLO: wire.Json = {"t": "hello", "v": 1, "user": "ann"}


def without(message: wire.Json, *names: str) -> wire.Json:
    return {name: value for name, value in message.items() if name not in names}


# Refused with this code in either format.
MALFORMED: dict[str, tuple[wire.Json, int]] = {
    "a server's message": (wire.welcome("s", "n", 1), 404),
    "another message of servers": (wire.resync("lobby"), 404),
    "no id": (without(SAY, "id"), 400),
    "id is negative": ({**SAY, "id": -1}, 400),
    "id is too large": ({**SAY, "id": 2**53}, 400),
    "id is empty": ({**SAY, "id": ""}, 400),
    "id is long": ({**SAY, "id": "x" * 65}, 400),
    "no room": (without(SAY, "room"), 400),
    "room is empty": ({**SAY, "room": ""}, 422),
    "room is long": ({**SAY, "room": "x" * 65}, 422),
    "room with a space": ({**SAY, "room": "the lobby"}, 422),
    "room with a capital": ({**SAY, "room": "Lobby"}, 422),
    "room with a line break": ({**SAY, "room": "lobby\n"}, 422),
    "room with a digit of another script": ({**SAY, "room": "room٣"}, 422),
    "room with a dot first": ({**SAY, "room": "..", "id": "dots"}, 422),
    "no body": (without(SAY, "body"), 400),
    "body is empty": ({**SAY, "body": ""}, 422),
    "body is long": ({**SAY, "body": "x" * 8001}, 422),
    "since without an epoch": ({**JOIN, "since": {"off": 1}}, 400),
    "since without an offset": ({**JOIN, "since": {"ep": "e"}}, 400),
    "since with an empty epoch": ({**JOIN, "since": {"off": 1, "ep": ""}}, 422),
    "since with a long epoch": ({**JOIN, "since": {"off": 1, "ep": "x" * 65}}, 422),
    "since before the beginning": ({**JOIN, "since": {"off": -1, "ep": "e"}}, 400),
    "limit is negative": ({**JOIN, "limit": -1}, 400),
    "history without an id": ({"t": "history", "room": "lobby"}, 400),
    "history without a room": ({"t": "history", "id": 1}, 400),
    "dm to nobody": ({"t": "dm", "id": 1, "body": "hi"}, 400),
    "dm to an empty name": ({"t": "dm", "id": 1, "to": "", "body": "hi"}, 422),
    "dm without a body": ({"t": "dm", "id": 1, "to": "ann"}, 400),
    "ping without n": ({"t": "ping"}, 400),
    "ping with a negative n": ({"t": "ping", "n": -1}, 400),
    "pong with a large n": ({"t": "pong", "n": 2**53}, 400),
    "no version": (without(HELLO, "v"), 400),
    "another version": ({**HELLO, "v": 2}, 400),
    "no user": (without(HELLO, "user"), 400),
    "user is empty": ({**HELLO, "user": ""}, 422),
    "user is long": ({**HELLO, "user": "x" * 33}, 422),
    "user with a space at its end": ({**HELLO, "user": "ann "}, 422),
    "user with a control character": ({**HELLO, "user": "a\x1bnn"}, 422),
    "user that turns the line": ({**HELLO, "user": "a\u202enn"}, 422),
    "token is empty": ({**HELLO, "token": ""}, 422),
    "token is long": ({**HELLO, "token": "x" * 4097}, 422),
    "sid is long": ({**HELLO, "sid": "x" * 65}, 422),
    "secret is long": ({**HELLO, "secret": "x" * 129}, 422),
    "too many caps": ({**HELLO, "caps": ["x"] * 33}, 422),
    "a long cap": ({**HELLO, "caps": ["x" * 65]}, 422),
}

# What only JSON can say.
MALFORMED_JSON: dict[str, tuple[bytes, int]] = {
    "since is a number": (b'{"t":"join","id":1,"room":"lobby","since":7}', 400),
    "since is a list": (b'{"t":"join","id":1,"room":"lobby","since":[1,"e"]}', 400),
    "offset is a string": (b'{"t":"join","id":1,"room":"lobby","since":{"off":"1","ep":"e"}}', 400),
    "offset is true": (b'{"t":"join","id":1,"room":"lobby","since":{"off":true,"ep":"e"}}', 400),
    "epoch is a number": (b'{"t":"join","id":1,"room":"lobby","since":{"off":1,"ep":2}}', 400),
    "limit is a fraction": (b'{"t":"join","id":1,"room":"lobby","limit":1.5}', 400),
    "rev is a number": (b'{"t":"history","id":1,"room":"lobby","rev":1}', 400),
    "caps is a string": (b'{"t":"hello","v":1,"user":"ann","caps":"all"}', 400),
    "a cap is a number": (b'{"t":"hello","v":1,"user":"ann","caps":["a",1]}', 400),
    "token is a number": (b'{"t":"hello","v":1,"user":"ann","token":1}', 400),
    "tp is a number": (b'{"t":"say","id":1,"room":"lobby","body":"hi","tp":1}', 400),
    "to is a list": (b'{"t":"dm","id":1,"to":["ann"],"body":"hi"}', 400),
}

# What only Protobuf can say. Field 11 of the Envelope is ``say``, whose fields 1 and 2 are ``room`` and ``body``.
MALFORMED_PROTOBUF: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "an id alone": (b"\x08\x01", 400),
    "garbage": (b"\xff\xff\xff\xff", 400),
    "JSON": (JSON.encode(SAY), 400),
    "truncated": (PROTOBUF.encode(SAY)[:-1], 400),
    "length beyond the end": (b"\x5a\x7f\x0a\x05lobby", 400),
    "length without end": (b"\x5a" + b"\xff" * 10, 400),
    "a number of eleven bytes": (b"\x08" + b"\x80" * 10 + b"\x01", 400),
    "field number zero": (b"\x00\x01", 400),
    "a group that does not end": (b"\x0b", 400),
    "a group that does not begin": (b"\x0c", 400),
    "a reserved wire type": (b"\x0f", 400),
    "room is a number": (b"\x08\x01\x5a\x04\x08\x07\x12\x00", 400),
    "room is not UTF-8": (b"\x08\x01\x5a\x06\x0a\x01\xff\x12\x01x", 400),
    "body is half a character": (b"\x08\x01\x5a\x07\x0a\x01r\x12\x02\xed\xa0", 400),
    "body is a surrogate": (b"\x08\x01\x5a\x08\x0a\x01r\x12\x03\xed\xa0\x80", 400),
    "id is not UTF-8": (b"\x12\x01\xff\xb2\x01\x00", 400),
    "n is a string": (b"\x92\x01\x03\x0a\x01x", 400),
    "a message is a number": (b"\x08\x01\x58\x01", 404),
    "unknown message": (b"\x08\x01\x9a\x06\x00", 404),
    "a deep nest": (PROTOBUF.encode(JOIN) + b"\x52\x80\x08" + b"\x3a\xfd\x07" * 400, 400),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """What is wrong is wrong in both formats: the same code, the same words, the same id."""
    message, code = MALFORMED[name]
    errors: list[wire.WireError] = []
    for codec in (JSON, PROTOBUF):
        with pytest.raises(wire.WireError) as refused:
            codec.decode(codec.encode(message))
        errors.append(refused.value)
    assert [int(error.code) for error in errors] == [code] * 2
    assert errors[0].message == errors[1].message
    assert errors[0].id == errors[1].id
    assert errors[0].id in (message.get("id"), None)


@pytest.mark.parametrize(
    ("codec", "payload", "code"),
    [pytest.param(JSON, *case, id=f"json: {name}") for name, case in MALFORMED_JSON.items()]
    + [pytest.param(PROTOBUF, *case, id=f"pb: {name}") for name, case in MALFORMED_PROTOBUF.items()],
)
def test_malformed_in_one_format(codec: wire.Codec, payload: bytes, code: int) -> None:
    """What can be wrong in one format only is a bad request there, or a message that there is not."""
    with pytest.raises(wire.WireError) as refused:
        codec.decode(payload)
    assert int(refused.value.code) == code
    assert refused.value.message


GOLDEN: tuple[tuple[wire.Json, bytes, str], ...] = (
    (SAY, b'{"t":"say","id":1,"room":"lobby","body":"hi"}', "08015a0b0a056c6f62627912026869"),
    (HELLO, b'{"t":"hello","v":1,"user":"ann"}', "1a0708011203616e6e"),
    (
        {"t": "join", "id": "j", "room": "r", "since": {"off": 300, "ep": "e"}, "limit": 0},
        b'{"t":"join","id":"j","room":"r","since":{"off":300,"ep":"e"},"limit":0}',
        "12016a2a0d0a0172120608ac021201651800",
    ),
    ({"t": "bye"}, b'{"t":"bye"}', "b20100"),
    (wire.pong(0), b'{"t":"pong","n":0}', "9a01020800"),
    (
        wire.msg("r", "ä", "\n", 5, 0, pos=wire.Pos(1, "e")),
        '{"t":"msg","room":"r","off":1,"ep":"e","from":"ä","body":"\\n","ts":5,"id":0}'.encode(),
        "08006a110a017210011a01652202c3a42a010a3005",
    ),
    (
        wire.joined(1, "r", ["a"], rec=False, msgs=[wire.msg("r", "a", "b", 5, "i")]),
        (
            b'{"t":"joined","id":1,"room":"r","rec":false,"msgs":['
            b'{"t":"msg","room":"r","from":"a","body":"b","ts":5,"id":"i"}],"members":["a"]}'
        ),
        "0801321a0a017220002a101201696a0b0a01722201612a01623005320161",
    ),
    (
        wire.err(wire.WireError(wire.Code.RATE_LIMITED, "slow", retry_ms=9)),
        b'{"t":"err","code":429,"msg":"slow","temp":true,"retry_ms":9}',
        "aa010d08ad031204736c6f7718012009",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("message", "as_json", "as_protobuf"), GOLDEN)
def test_golden_bytes(message: wire.Json, as_json: bytes, as_protobuf: str) -> None:
    """The bytes of version 1 do not change."""
    assert JSON.encode(message) == as_json
    assert PROTOBUF.encode(message).hex() == as_protobuf
    assert JSON.loads(as_json) == PROTOBUF.loads(bytes.fromhex(as_protobuf)) == message


def test_newer_clients() -> None:
    """Fields that are not known are ignored; a message that is not known is answered with its id."""
    unknown = b"\xfa\x3f\x03new"
    say = PROTOBUF.encode(without(SAY, "id"))
    assert PROTOBUF.decode(b"\x08\x01\x5a" + bytes([say[1] + len(unknown)]) + say[2:] + unknown + unknown) == wire.Say(
        1, "lobby", "hi"
    )
    for id_field, id_ in ((b"\x08\x07", 7), (b"\x12\x05seven", "seven")):
        with pytest.raises(wire.WireError) as refused:
            PROTOBUF.decode(id_field + unknown)
        assert (refused.value.code, refused.value.id) == (404, id_)


def test_two_messages_in_one() -> None:
    """As Protobuf has it, the last message in an Envelope counts."""
    assert PROTOBUF.decode(PROTOBUF.encode(SAY) + PROTOBUF.encode(wire.ping(1))) == wire.Ping(1)


def test_what_a_client_nests_costs_nothing() -> None:
    """A command's ``msgs``, which mean nothing, are not read."""
    many = {"t": "history", "id": 1, "room": "r", "msgs": [SAY] * 1000}
    assert PROTOBUF.decode(PROTOBUF.encode(many)) == JSON.decode(JSON.encode(many)) == wire.History(1, "r")


def test_without_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, there is JSON; else both, by subprotocol."""
    assert wire.protobuf() is PROTOBUF
    assert dict(wire.codecs()) == {"gochat.json": JSON, "gochat.pb": PROTOBUF}
    monkeypatch.setitem(sys.modules, "examples.chat.wire.protobuf_codec", None)
    monkeypatch.setattr(wire, "protobuf", wire.protobuf.__wrapped__)
    assert wire.protobuf() is None
    assert dict(wire.codecs.__wrapped__()) == {"gochat.json": JSON}


def test_proto_file() -> None:
    """A line that is not understood is an error, not a field that is missing."""
    text = proto_file.PROTO.read_text("utf-8")
    assert len(proto_file.read_proto(text).message_type) == text.count("\nmessage ")
    for line in (
        "map<string, string> x = 1;",
        "reserved 7;",
        "repeated string x=1;",
        "enum E {",
        "required bool x = 1;",
    ):
        with pytest.raises(ValueError, match="not understood"):
            proto_file.read_proto(text.replace("message Bye {", "message Bye {\n  " + line))


def test_encoded_once() -> None:
    """However many clients there are, a message is encoded once per format and framed once per format and framing."""
    calls: list[str] = []

    class Counting:
        name = "counting"
        binary = True

        def decode(self, payload: bytes | bytearray) -> wire.Command:
            raise NotImplementedError

        def loads(self, payload: bytes | bytearray) -> wire.Json:
            raise NotImplementedError

        def encode(self, message: wire.Json) -> bytes:
            calls.append(message["t"])
            return b"x" * 200

    codec = Counting()
    encoded = wire.Encoded(wire.pong(1))
    assert not calls
    for framing in wire.Framing:
        frames = {id(encoded.framed(framing, codec)) for _ in range(10)}
        assert len(frames) == 1
    assert calls == ["pong"]
    assert encoded.framed(wire.Framing.WEBSOCKET, codec) == Frame(Opcode.BINARY, b"x" * 200).serialize(mask=False)
    assert encoded.framed(wire.Framing.PREFIXED, PROTOBUF) == b"\0\0\0\x05\x9a\x01\x02\x08\x01"
    assert encoded.framed(wire.Framing.LINES) == b'{"t":"pong","n":1}\n'


# ---- both agree, whatever is said ----

texts = st.text(max_size=10) | st.sampled_from(["lobby", "ann", "x" * 70])
numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9)
ids = texts | numbers
positions = st.fixed_dictionaries({}, optional={"off": numbers, "ep": texts})
commands = st.fixed_dictionaries(
    {"t": st.sampled_from(["hello", "join", "leave", "who", "history", "say", "dm", "ping", "pong", "bye"])},
    optional={
        "id": ids, "v": st.sampled_from([1, 1, 2]), "user": texts, "token": texts, "sid": texts, "secret": texts,
        "caps": st.lists(texts, max_size=3), "room": texts, "since": positions, "limit": numbers, "rev": st.booleans(),
        "body": texts, "to": texts, "tp": texts, "n": numbers,
    },
)  # fmt: skip
FIELDS = {
    "hello": ("v", "user", "token", "sid", "secret", "caps"), "join": ("room", "since", "limit"), "leave": ("room",),
    "who": ("room",), "history": ("room", "since", "limit", "rev"), "say": ("room", "body", "tp"), "dm": ("to", "body"),
    "ping": ("n",), "pong": ("n",), "bye": (),
}  # fmt: skip


def outcome(codec: wire.Codec, payload: bytes | bytearray) -> Any:
    try:
        return codec.decode(payload)
    except wire.WireError as error:
        return error.code, error.message, error.id


@given(commands)
def test_both_agree_on_commands(message: wire.Json) -> None:
    """A command means the same, or is refused in the same words, in both formats."""
    message = {name: message[name] for name in ("t", "id", *FIELDS[message["t"]]) if name in message}
    assert outcome(JSON, JSON.encode(message)) == outcome(PROTOBUF, PROTOBUF.encode(message))


whole = st.integers(0, 2**53 - 1)
pos = st.builds(wire.Pos, whole, texts)
names = st.lists(texts, max_size=3)
msgs = st.builds(
    wire.msg, texts, texts, texts, whole, st.none() | ids, pos=st.none() | pos, tp=st.none() | texts
)  # fmt: skip
goodbyes = st.builds(wire.Goodbye, st.sampled_from(wire.Close), texts, after_ms=whole, resume=st.booleans())
errors = st.builds(wire.WireError, st.sampled_from(wire.Code), texts, st.none() | ids, retry_ms=st.none() | whole)
seconds = st.none() | st.floats(0, 1e9)
answers = st.one_of(
    st.builds(
        wire.welcome, texts, texts, whole, secret=st.none() | texts, interval=seconds, min_timeout=seconds,
        rate=seconds, burst=st.none() | whole, rooms=st.none() | whole, resumed=st.booleans(),
    ),
    st.builds(
        wire.joined, ids, texts, st.none() | st.lists(texts, min_size=1, max_size=3), pos=st.none() | pos,
        rec=st.none() | st.booleans(), msgs=st.lists(msgs, max_size=3),
    ),
    st.builds(wire.members, ids, texts, names),
    st.builds(wire.history, ids, texts, pos, st.lists(msgs, max_size=3), st.booleans()),
    st.builds(
        wire.ack, ids, st.none() | texts, pos=st.none() | pos, dup=st.none() | st.booleans(),
        delivered=st.none() | whole,
    ),
    msgs,
    st.builds(wire.dm, texts, texts, whole),
    st.builds(wire.pres, texts, names, names),
    st.builds(wire.lag, texts, whole),
    st.builds(wire.resync, texts),
    st.builds(wire.ping, whole),
    st.builds(wire.pong, whole),
    st.builds(wire.goaway, goodbyes),
    st.builds(wire.err, errors),
)  # fmt: skip


@given(answers)
def test_both_agree_on_answers(message: wire.Json) -> None:
    """What a server says comes out as it went in, in both formats."""
    assert JSON.loads(JSON.encode(message)) == message
    assert PROTOBUF.loads(PROTOBUF.encode(message)) == message


@given(commands | answers, st.integers(0, 400), st.binary(max_size=3))
@settings(max_examples=200)
def test_damage(message: wire.Json, at: int, damage: bytes) -> None:
    """A message that was damaged on the way is a command or an error, never anything else."""
    fields = FIELDS.get(message["t"], tuple(message))
    message = {name: value for name, value in message.items() if name in ("t", "id", *fields)}
    for codec in (JSON, PROTOBUF):
        payload = bytearray(codec.encode(message))
        payload[at : at + len(damage)] = damage
        outcome(codec, payload)
        try:
            codec.loads(payload)
        except wire.WireError:
            pass


@given(st.binary(max_size=60))
def test_noise(payload: bytes) -> None:
    """So is whatever else may come."""
    for codec in (JSON, PROTOBUF):
        outcome(codec, payload)
