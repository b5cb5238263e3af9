"""How messages travel: the transports (``lines``, ``prefixed``, ``websocket``), and ``memory`` in place of a socket."""

from __future__ import annotations

from .base import PREFACE as PREFACE
from .base import Opening as Opening
from .base import Source as Source
from .base import Stream as Stream
from .base import Transport as Transport
from .base import recognise as recognise
from .base import unheard as unheard
from .lines import Lines as Lines
from .memory import MemoryPipe as MemoryPipe
from .memory import MemoryStream as MemoryStream
from .prefixed import Prefixed as Prefixed
from .websocket import WebSocket as WebSocket
from .websocket import select_subprotocol as select_subprotocol
