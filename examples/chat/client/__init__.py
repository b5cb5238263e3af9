"""A client of the chat: ``Client`` for programs, ``python -m examples.chat.client`` for people.

Read it in this order: ``events`` (what it tells), ``client`` (what it can be asked), ``conversation`` (one connection),
``recovery`` (nothing is missed without a word), ``link`` and ``framing`` (how it travels), ``terminal`` (for people).
"""

from __future__ import annotations

from .backoff import LOST as LOST
from .backoff import Backoff as Backoff
from .client import GOODBYE as GOODBYE
from .client import Client as Client
from .events import ChatEvent as ChatEvent
from .events import DirectMessage as DirectMessage
from .events import Disconnected as Disconnected
from .events import Expelled as Expelled
from .events import Gap as Gap
from .events import GoAway as GoAway
from .events import HistoryPage as HistoryPage
from .events import Joined as Joined
from .events import Message as Message
from .events import Presence as Presence
from .events import Problem as Problem
from .events import Reconnected as Reconnected
from .events import Reconnecting as Reconnecting
from .events import Refused as Refused
