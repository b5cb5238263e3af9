"""Where the messages are: one interface (``base.py``), and what keeps them, in memory or in a file.

``sqlite.py`` is imported by whoever wants it: Python can be built without SQLite.
"""

from __future__ import annotations

from ..wire.commands import Pos as Pos
from .base import KEY_SECONDS as KEY_SECONDS
from .base import PRESENCE_SECONDS as PRESENCE_SECONDS
from .base import Broker as Broker
from .base import BrokerError as BrokerError
from .base import Control as Control
from .base import Event as Event
from .base import HistoryPage as HistoryPage
from .base import Presence as Presence
from .base import Published as Published
from .base import Resync as Resync
from .base import Unavailable as Unavailable
from .local import LocalBroker as LocalBroker
from .local import LocalEngine as LocalEngine
from .memory import MemoryEngine as MemoryEngine
from .window import Window as Window
