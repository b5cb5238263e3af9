"""Reads ``gochat.proto`` into a descriptor, when the program starts.

There is one description of the messages, the file that clients in other languages are made from. Code that ``protoc``
generates from it would be a second one, and belongs to one major version of the runtime; so the few statements that the
file uses are read here, without ``protoc``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

PROTO: Final = Path(__file__).with_name("gochat.proto")

_SCALARS: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}
_FIELD: Final = re.compile(r"(?:(optional|repeated) )?(\w+) (\w+) = (\d+);")
_BLOCK: Final = re.compile(r"(message|oneof) (\w+) \{")


def read_proto(text: str) -> FileDescriptorProto:
    """The descriptor of a file.

    Raises:
        ValueError: a line is not understood.
    """
    file = FileDescriptorProto(name="gochat.proto", syntax="proto3")
    message = DescriptorProto()
    within: list[str] = []
    for line in filter(None, (line.partition("//")[0].strip() for line in text.splitlines())):
        if line.startswith("package "):
            file.package = line.removeprefix("package ").removesuffix(";")
        elif block := _BLOCK.fullmatch(line):
            within.append(block[1])
            if block[1] == "message":
                message = file.message_type.add(name=block[2])
            else:
                message.oneof_decl.add(name=block[2])
        elif line == "}":
            if within.pop() == "message":
                _mark_optional(message)
        elif field := _FIELD.fullmatch(line):
            _add_field(message, field, file.package, in_oneof=within[-1] == "oneof")
        elif line != 'syntax = "proto3";':
            raise ValueError(f"not understood in {file.name}: {line!r}")
    return file


def _add_field(message: DescriptorProto, line: re.Match[str], package: str, *, in_oneof: bool) -> None:
    label, kind, name, number = line.groups()
    field = message.field.add(name=name, number=int(number))
    field.label = FieldDescriptorProto.LABEL_REPEATED if label == "repeated" else FieldDescriptorProto.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{kind}"
    if in_oneof:
        field.oneof_index = len(message.oneof_decl) - 1
    elif label == "optional":
        field.proto3_optional = True


def _mark_optional(message: DescriptorProto) -> None:
    # What makes a proto3 field know whether it was set: it is alone in a oneof. These come after the real ones.
    for field in message.field:
        if field.proto3_optional:
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
