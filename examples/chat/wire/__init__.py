"""The wire protocol, version 1: what clients say (``commands``), what servers say (``answers``), how it becomes bytes.

``json_codec`` and ``protobuf_codec`` are the two formats, ``frames`` sets messages apart on a stream, ``errors`` has
the codes. ``decode``, ``loads`` and ``dumps`` are JSON's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from .answers import MAX_MEMBERS as MAX_MEMBERS
from .answers import ack as ack
from .answers import dm as dm
from .answers import err as err
from .answers import goaway as goaway
from .answers import history as history
from .answers import joined as joined
from .answers import lag as lag
from .answers import members as members
from .answers import msg as msg
from .answers import ping as ping
from .answers import pong as pong
from .answers import pres as pres
from .answers import published as published
from .answers import resync as resync
from .answers import welcome as welcome
from .codec import Codec as Codec
from .commands import MAX_BODY as MAX_BODY
from .commands import MAX_ID as MAX_ID
from .commands import MAX_NUMBER as MAX_NUMBER
from .commands import MAX_USER as MAX_USER
from .commands import VERSION as VERSION
from .commands import Bye as Bye
from .commands import Command as Command
from .commands import Dm as Dm
from .commands import Hello as Hello
from .commands import History as History
from .commands import Join as Join
from .commands import Json as Json
from .commands import Leave as Leave
from .commands import Ping as Ping
from .commands import Pong as Pong
from .commands import Pos as Pos
from .commands import Say as Say
from .commands import Who as Who
from .commands import command as command
from .errors import Close as Close
from .errors import Code as Code
from .errors import Goodbye as Goodbye
from .errors import Id as Id
from .errors import WireError as WireError
from .frames import Encoded as Encoded
from .frames import Framing as Framing
from .frames import enframe as enframe
from .frames import text_frame as text_frame
from .json_codec import JSON as JSON
from .json_codec import JsonCodec as JsonCodec
from .json_codec import dumps as dumps
from .json_codec import loads as loads

SUBPROTOCOL: Final = "gochat.json"
SUBPROTOCOL_PB: Final = "gochat.pb"

decode = JSON.decode


@cache
def protobuf() -> Codec | None:
    """The Protobuf codec, ``None`` where the package it needs is not installed."""
    try:
        from .protobuf_codec import PROTOBUF
    except ImportError:
        return None
    return PROTOBUF


@cache
def codecs() -> Mapping[str, Codec]:
    """The codecs there are, by WebSocket subprotocol; JSON is the first."""
    pb = protobuf()
    return {SUBPROTOCOL: JSON} if pb is None else {SUBPROTOCOL: JSON, SUBPROTOCOL_PB: pb}
