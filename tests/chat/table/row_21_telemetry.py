"""Row 21: one trace from the client to the downstream service, metrics that add up, a crash that is told once.

Shape
    A server with everything on that tells about it: spans of OpenTelemetry, JSON log lines, Prometheus' metrics,
    Sentry's reporter (each ends in memory), and a downstream service behind a real webhook. Clients of every kind
    talk, each message in a trace of its own, while somebody scrapes /metrics. Then a session and the hub crash.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Any

import anyio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from tests.chat.pb_talkers import PB_TALKERS
from tests.chat.table.row import Check, Row, Size, at_least, exactly, told
from tests.chat.talkers import BOUND, TALKERS, Connect, Talker, fetch, running, until
from tests.chat.test_logs import Sink
from tests.chat.test_telemetry import sentry
from tests.chat.test_webhook import service

from examples.chat.config import Settings
from examples.chat.downstream import Downstream, Outcome
from examples.chat.node import assemble
from examples.chat.server import Server
from examples.chat.telemetry import Telemetry, trace_id_of
from examples.chat.telemetry.logs import LogPipe
from examples.chat.telemetry.otel import OtelTracer
from examples.chat.telemetry.prometheus import PrometheusMetrics
from examples.chat.webhook import Webhook
from gochan import Group, sleep

KINDS: list[Connect] = [*TALKERS.values(), *PB_TALKERS.values()]
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PARENT = "b7ad6b7169203331"
PAUSE = 0.05
CROWDED = 128  # notices that may wait downstream before the speakers make a pause, or some would be dropped


class Seen:
    """Where everything that is told ends up."""

    def __init__(self) -> None:
        self.metrics = PrometheusMetrics()
        self.spans = InMemorySpanExporter()
        self.reports: list[Any] = []
        self.sink = Sink()
        self.logs = LogPipe(self.sink)
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self._errors = sentry(self.reports)
        self.telemetry = Telemetry(metrics=self.metrics, tracer=OtelTracer(self._provider), errors=self._errors)

    def server(self, url: str, settings: Settings) -> Server:
        node = assemble(settings, telemetry=self.telemetry)
        node.downstream = Downstream(Webhook(url), deadline=20, telemetry=self.telemetry)
        return Server(settings, node, self.metrics.expose)

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        logger = logging.getLogger("examples.chat")
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.DEBUG)
        logger.propagate = False  # the crashes are meant, and nobody needs to read of them
        logger.addHandler(self.logs.handler)
        try:
            yield
        finally:
            logger.removeHandler(self.logs.handler)
            logger.level, logger.propagate = level, propagate
            self.logs.handler.close()
            self._errors.close()
            self._provider.shutdown()


def samples(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}[{labels}]"] = sample.value
    return found


class Speaker:
    """A client with a trace for each of its messages."""

    def __init__(self, number: int, talker: Talker) -> None:
        self.number = number
        self.talker = talker
        self.heard: dict[str, str | None] = {}

    def trace(self, number: int) -> str:
        return f"{self.number + 1:016x}{number:016x}"

    async def speak(self, server: Server, count: int) -> None:
        assert server.node.downstream is not None
        for number in range(count):
            while server.node.downstream.waiting > CROWDED:
                await sleep(0.005)
            trace = self.trace(number)
            parent = f"00-{trace}-{PARENT}-01"
            await self.talker.send({"t": "say", "id": trace, "room": "lobby", "body": trace, "tp": parent})
            while (message := await self.talker.receive())["t"] != "ack":
                self._take(message)

    async def listen(self, count: int) -> None:
        while len(self.heard) < count:
            self._take(await self.talker.receive())

    def _take(self, message: Any) -> None:
        if message["t"] == "msg":
            self.heard[message["body"]] = trace_id_of(message.get("tp"))


def delivered(server: Server) -> int:
    assert server.node.downstream is not None
    return server.node.downstream.counts[Outcome.DELIVERED]


async def scrape(server: Server, seen: list[dict[str, float]], seconds: list[float]) -> None:
    while True:
        began = time.perf_counter()
        status, _, body = await fetch(server, SCRAPE)
        seconds.append(time.perf_counter() - began)
        assert status == 200
        seen.append(samples(body.decode()))
        await sleep(PAUSE)


async def crash(server: Server, room: Sequence[Speaker]) -> tuple[str, int | None]:
    """A message at which its session fails, then one at which the hub does; the session, and how it ended."""
    broker: Any = server.node.broker
    hub: Any = server.hub
    publish, give = broker.publish, hub._give

    async def fail_to_publish(*args: Any, **fields: Any) -> Any:
        if b"poison" in args[1]:
            raise ZeroDivisionError
        return await publish(*args, **fields)

    def fail_to_give(*args: Any) -> None:
        hub._give = give
        raise ZeroDivisionError

    broker.publish = fail_to_publish
    async with KINDS[0](server) as victim:
        await victim.send({"t": "hello", "v": 1, "user": "victim"})
        sid = (await victim.get("welcome"))["sid"]
        await victim.send({"t": "join", "id": 1, "room": "lobby"})
        await victim.find("joined")
        await victim.send({"t": "say", "id": 2, "room": "lobby", "body": "poison"})
        end = await victim.end()
    hub._give = fail_to_give
    await room[0].talker.send({"t": "say", "id": "after", "room": "lobby", "body": "after"})
    for speaker in room:
        await speaker.talker.find("msg", id="after")
    return sid, end


@contextlib.asynccontextmanager
async def logged(pipe: LogPipe) -> AsyncIterator[None]:
    async with Group() as group:
        group.go(pipe.run)
        yield
        group.cancel()


async def run(size: Size) -> Sequence[Check]:
    people, each = size.pick((8, 8), (50, 40))
    count = people * each
    seen = Seen()
    scrapes: list[dict[str, float]] = []
    seconds: list[float] = []
    with seen.logging(), anyio.fail_after(size.pick(BOUND, BOUND * 6)):
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(logged(seen.logs))
            url, requests = await stack.enter_async_context(service(b"HTTP/1.1 204 No Content\r\n\r\n", BOUND * 6))
            server = await stack.enter_async_context(running(lambda settings: seen.server(url, settings), BOUND * 6))
            room = [
                Speaker(number, await stack.enter_async_context(KINDS[number % len(KINDS)](server)))
                for number in range(people)
            ]
            for speaker in room:
                await speaker.talker.join(f"user {speaker.number}")
            async with Group() as scraping:
                scraping.go(scrape, server, scrapes, seconds)
                async with Group() as speaking:
                    for speaker in room:
                        speaking.go(speaker.speak, server, each)
                async with Group() as listening:
                    for speaker in room:
                        listening.go(speaker.listen, count)
                await until(lambda: delivered(server) == count and len(scrapes) > 1)
                scraping.cancel()
            last = samples((await fetch(server, SCRAPE))[2].decode())
            sid, end = await crash(server, room)
    traces = [speaker.trace(number) for speaker in room for number in range(each)]
    return [
        *judge_traces(seen, room, traces, requests),
        *judge_metrics(scrapes, last, people, count),
        told("seconds that a scrape under load takes at most", f"{max(seconds):.3f}"),
        *judge_crash(seen, sid, end),
    ]


def judge_traces(seen: Seen, room: Sequence[Speaker], traces: Sequence[str], requests: list[bytes]) -> list[Check]:
    says, notifies = spans_of(seen, "say"), spans_of(seen, "notify")
    children = sum(
        f"{says[trace].parent.span_id:016x}" == PARENT and notifies[trace].parent.span_id == says[trace].context.span_id
        for trace in traces
        if trace in says and trace in notifies
    )
    logs = [line.get("trace.id") for line in seen.sink.records if " says " in line["message"]]
    sent = [trace_id_of(header(request, b"traceparent").decode()) for request in requests]
    return [
        exactly("messages heard in the trace of their speaker", sum(
            trace == heard for speaker in room for trace, heard in speaker.heard.items()
        ), len(room) * len(traces)),
        exactly("spans: say under the client's, notify under say", children, len(traces)),
        exactly("log records of a say, one in each trace", once(logs, traces), len(traces)),
        exactly("requests downstream, one in each trace", once(sent, traces), len(traces)),
    ]  # fmt: skip


def spans_of(seen: Seen, name: str) -> dict[str, Any]:
    """By trace."""
    spans: Sequence[Any] = seen.spans.get_finished_spans()
    return {f"{span.context.trace_id:032x}": span for span in spans if span.name == name}


def once(found: Sequence[str | None], traces: Sequence[str]) -> int:
    """How many of these traces were found exactly once."""
    counts = Counter(found)
    return sum(counts[trace] == 1 for trace in traces)


def header(request: bytes, name: bytes) -> bytes:
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return next(line for line in lines if line.startswith(name + b": ")).partition(b": ")[2]


def judge_metrics(scrapes: list[dict[str, float]], last: dict[str, float], people: int, count: int) -> list[Check]:
    said = "gochat_said_total[outcome=said]"
    totals = [one.get(said, 0) for one in scrapes]
    return [
        at_least("scrapes under load", len(scrapes), 2),
        exactly("scrapes that went back", sum(a > b for a, b in pairwise(totals)), 0),
        exactly("messages said, by the last one", last[said], count),
        exactly("publications timed, by the last one", last["gochat_publish_seconds_count[]"], count),
        exactly("notices delivered, by the last one", last["gochat_notices_total[outcome=delivered]"], count),
        exactly("sessions alive, by the last one", last["gochat_sessions[state=alive]"], people),
    ]


def judge_crash(seen: Seen, sid: str, end: int | None) -> list[Check]:
    reports = [(event["exception"]["values"][-1]["type"], event["tags"]) for event in seen.reports]
    lines = [json.dumps(line) for line in seen.sink.records if line["log.level"] in ("error", "critical")]
    return [
        exactly("code that the session's client got", end, 4014),
        exactly("reports of the session, with its sid", [
            (kind, tags["sid"] == sid) for kind, tags in reports if "sid" in tags
        ], [("ZeroDivisionError", True)]),
        exactly("reports of the hub", [tags.get("part") for _, tags in reports if "sid" not in tags], ["hub"]),
        exactly("errors in the log", (len(lines), sum(sid in line for line in lines)), (2, 1)),
    ]  # fmt: skip


ROW = Row("21", "telemetry", run)
