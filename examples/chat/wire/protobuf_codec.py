"""Protobuf: one ``Envelope`` of ``gochat.proto`` per message. Needs the package ``protobuf``; nothing else imports it.

Shape
    bytes <-> Envelope <-> Json dict <-> Command
    What the dict means is judged where JSON's is (``commands``), so both formats accept and refuse the same. What
    Protobuf cannot say (a room that is a number) arrives as a field that is unknown, and is missing where it belongs.

It is smaller than JSON, by a quarter or so, and in CPython several times slower than msgspec: it is here for clients
that want a schema, not for speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from .commands import Command, Json, command
from .errors import Code, WireError
from .proto_file import PROTO, read_proto

# Lists that are always there in JSON; Protobuf does not tell an empty list from none. (``history`` has one when it is
# the answer, which says whether it is complete.)
_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "joined": ("msgs",),
    "members": ("members",),
    "pres": ("join", "leave"),
}


def _envelope_class() -> Any:
    pool = DescriptorPool()  # not the default one, where others may have a file of the same name
    pool.Add(_FILE)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_FILE.package}.Envelope"))


_FILE: Final = read_proto(PROTO.read_text("utf-8"))
_Envelope: Final = _envelope_class()
_REPEATED: Final = frozenset(
    field.name for message in _FILE.message_type for field in message.field if field.label == field.LABEL_REPEATED
)


class ProtobufCodec:
    """Messages as Protobuf."""

    name = "pb"
    binary = True

    def decode(self, payload: bytes | bytearray) -> Command:
        """The command in one message of a client."""
        # No command has messages within it: what a client sends there is not worth the time.
        return command(_message(_parse(payload), nested=False))

    def loads(self, payload: bytes | bytearray) -> Json:
        """Any message, unjudged."""
        return _message(_parse(payload), nested=True)

    def encode(self, message: Json) -> bytes:
        """A message of either side."""
        payload: bytes = _Envelope(**_fields(message)).SerializeToString()
        return payload


def _parse(payload: bytes | bytearray) -> Any:
    try:
        return _Envelope.FromString(bytes(payload))
    except (DecodeError, UnicodeDecodeError, RecursionError):  # the last two: the runtime in pure Python
        raise WireError(Code.BAD_REQUEST, "this is not an Envelope of gochat.proto") from None


def _message(envelope: Any, *, nested: bool) -> Json:
    kind: str | None = envelope.WhichOneof("message")
    message: Json = {}
    id_field = envelope.WhichOneof("id")
    if kind is not None:
        message["t"] = kind
        _add_fields(message, getattr(envelope, kind), nested=nested)
        for name in _LISTS.get(kind, ("msgs",) if "complete" in message else ()):
            message.setdefault(name, [])
    elif len(unknown := UnknownFieldSet(envelope)):
        message["t"] = f"field {unknown[0].field_number}"  # a message that is newer than this server
    if id_field is not None:
        message["id"] = getattr(envelope, id_field)
    return message


def _add_fields(message: Json, fields: Any, *, nested: bool) -> None:
    for field, value in fields.ListFields():
        if field.name == "msgs":
            if nested:
                message["msgs"] = [_message(envelope, nested=True) for envelope in value]
        elif field.name in _REPEATED:
            message[field.name] = list(value)
        elif field.message_type is not None:
            message[field.name] = {}
            _add_fields(message[field.name], value, nested=nested)
        else:
            message[field.name] = value


def _fields(message: Json) -> Json:
    """The fields of the Envelope."""
    fields = {name: value for name, value in message.items() if name not in ("t", "id")}
    if "msgs" in fields:
        fields["msgs"] = [_fields(nested) for nested in fields["msgs"]]
    envelope: Json = {message["t"]: fields}
    id_ = message.get("id")
    if id_ is not None:
        envelope["id_number" if type(id_) is int else "id_text"] = id_
    return envelope


PROTOBUF: Final = ProtobufCodec()
