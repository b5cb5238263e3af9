"""A node: what the sessions of one server share, in one place, so that each of them is handed one thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from gochan import CancelContext, background

from .broker import Broker, MemoryEngine, Window
from .config import Settings
from .downstream import Downstream
from .heartbeat import Heartbeat
from .hub import Hub
from .limits import Limits, Rate
from .registry import Registry
from .telemetry import NULL, Telemetry
from .webhook import Webhook


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One server's parts."""

    settings: Settings
    broker: Broker
    registry: Registry
    hub: Hub
    heartbeat: Heartbeat | None = None
    limits: Limits | None = None
    downstream: Downstream | None = None
    telemetry: Telemetry = NULL
    ctx: CancelContext = field(default_factory=lambda: background().with_cancel())


def new_node(settings: Settings, broker: Broker) -> Node:
    """A node without any of the parts that a chat can do without."""
    registry = Registry(per_user=settings.per_user)
    return Node(settings=settings, broker=broker, registry=registry, hub=Hub(broker, registry))


def window(settings: Settings) -> Window:
    """How much of each room is kept."""
    return Window(settings.history, settings.history_age, max(settings.history_age, 86_400.0))


def _in_memory(settings: Settings) -> Broker:
    return MemoryEngine(window(settings), size=settings.history_bytes).broker(settings.name)


def assemble(settings: Settings, broker: Broker | None = None, telemetry: Telemetry = NULL) -> Node:
    """The node that the settings ask for; without a broker its messages are kept in memory."""
    node = new_node(settings, broker or _in_memory(settings))
    rate = Rate(settings.rate, settings.burst)
    node.limits = Limits(
        connection=rate,
        user=Rate(settings.rate * 2, settings.burst * 2),
        accept=Rate(settings.accept_rate, settings.accept_burst),
        strikes=settings.max_errors,
        metrics=telemetry.metrics,
    )
    node.heartbeat = Heartbeat(
        interval=settings.ping_interval,
        floor=settings.pong_timeout,
        ceiling=max(settings.pong_timeout, 20.0),
        metrics=telemetry.metrics,
    )
    if settings.notify:
        node.downstream = Downstream(Webhook(settings.notify), telemetry=telemetry)
    node.telemetry = telemetry
    return node
