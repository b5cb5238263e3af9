"""Telemetry: the quiet defaults, metrics with and without Prometheus, traces through every hand, errors once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from examples.chat.downstream import Downstream, Notice
from examples.chat.telemetry import (
    NULL,
    ErrorReporter,
    LoggingReporter,
    NullErrors,
    NullTracer,
    ScrapedMetrics,
    Telemetry,
    Tracer,
    bound,
    current,
    report_once,
    trace_id_of,
)
from examples.chat.telemetry import prometheus as prometheus_module
from examples.chat.telemetry.log_lines import json_line
from examples.chat.telemetry.prometheus import PrometheusMetrics, make_metrics
from examples.chat.telemetry.text_metrics import TextMetrics
from gochan import Group, sleep

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def need(module: str, package: str) -> None:
    """Skip the test where an extra is missing."""
    pytest.importorskip(module, reason=f"{package} is missing: pip install {package}")


# ---- context and defaults ----


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (PARENT, TRACE), (PARENT.replace("00-", "cc-", 1) + "-more", TRACE), (None, None), ("", None),
        ("00-1-2-3", None), (PARENT.upper(), None), (PARENT.replace("00-", "ff-", 1), None), (PARENT + "-more", None),
        (PARENT + "\n", None), ("cc" + PARENT[2:] + "-" * 99, None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None), (f"00-{TRACE}-{'0' * 16}-01", None),
    ],
)  # fmt: skip
def test_traceparent(text: str | None, trace: str | None) -> None:
    """W3C's rules decide what is a trace; a later version is read as far as ours goes."""
    assert trace_id_of(text) == trace


def test_null_tracer_hands_on() -> None:
    """Without a tracer a client's trace reaches the next in line and the logs; what is none reaches nobody."""
    with NullTracer().span("say", parent=PARENT, room="lobby") as span:
        span.set("key", 1)
        assert span.traceparent == PARENT
        assert current()["trace"] == TRACE
    with NullTracer().span("say", parent="nonsense") as span:
        assert span.traceparent is None
        assert not current()


async def test_bound_reaches_goroutines() -> None:
    """Fields reach goroutines that are started inside, and end with the block."""
    seen: list[dict[str, str]] = []

    async def look() -> None:
        seen.append(dict(current()))

    async with Group() as group:
        with bound(session="a"):
            with bound(user="ann"):
                group.go(look)
            group.go(look)
        group.go(look)
    assert sorted(map(str, seen)) == sorted(map(str, [{"session": "a", "user": "ann"}, {"session": "a"}, {}]))


def test_defaults_do_nothing() -> None:
    """The quiet defaults take everything that the real ones take."""
    NULL.metrics.counter("a", "A", ("x",)).inc(1, "y")
    NULL.metrics.gauge("a", "A").set(1)
    NULL.metrics.gauge("a", "A").add(1)
    NULL.metrics.histogram("a", "A", buckets=(1,)).observe(1)
    NULL.errors.report(ValueError(), sid="x")
    assert isinstance(NULL.errors, ErrorReporter)
    telemetry: Telemetry = NULL
    tracer: Tracer = telemetry.tracer
    assert isinstance(tracer, NullTracer)
    assert isinstance(telemetry.errors, NullErrors)


def test_errors_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """The same error on its way through several hands is one report, another of the same kind is another."""
    errors = LoggingReporter()
    first = ValueError("first")
    errors.report(first, sid="s1")
    errors.report(first, sid="s2")
    errors.report(ValueError("first"), sid="s3")
    assert [record.tag_sid for record in caplog.records] == ["s1", "s3"]  # type: ignore[attr-defined]
    assert caplog.records[0].exc_info is not None


# ---- metrics ----


@pytest.fixture(params=[TextMetrics, PrometheusMetrics])
def metrics(request: pytest.FixtureRequest) -> ScrapedMetrics:
    need("prometheus_client", "prometheus-client")  # for its parser, too
    made: ScrapedMetrics = request.param()
    return made


def samples(metrics: ScrapedMetrics) -> dict[str, float]:
    """What a scrape sees, by Prometheus' own parser."""
    from prometheus_client.parser import text_string_to_metric_families

    text = metrics.expose().body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("gochat") and not sample.name.endswith("_created"):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}[{labels}]"] = sample.value
    return found


def test_both_expose_the_same(metrics: ScrapedMetrics) -> None:
    """The built-in metrics and the package's expose the same samples, as Prometheus' own parser reads them."""
    said = metrics.counter("gochat_said_total", "Said", ("outcome",))
    said.inc(1, "ok")
    said.inc(2.5, 'a"b\\c\nd')
    rooms = metrics.gauge("gochat_rooms", "Rooms\nand \\")
    rooms.set(5)
    rooms.add(-2)
    seconds = metrics.histogram("gochat_seconds", "Seconds", ("what",), (0.1, 1))
    for value in (0.05, 0.1, 0.5, 5):
        seconds.observe(value, "x")
    metrics.counter("gochat_never_total", "Never")
    assert metrics.counter("gochat_said_total", "Said", ("outcome",)) is said
    assert samples(metrics) == {
        "gochat_said_total[outcome=ok]": 1,
        'gochat_said_total[outcome=a"b\\c\nd]': 2.5,
        "gochat_rooms[]": 3,
        "gochat_seconds_bucket[le=0.1,what=x]": 2,
        "gochat_seconds_bucket[le=1.0,what=x]"
        if isinstance(metrics, PrometheusMetrics)
        else "gochat_seconds_bucket[le=1,what=x]": 3,
        "gochat_seconds_bucket[le=+Inf,what=x]": 4,
        "gochat_seconds_sum[what=x]": pytest.approx(5.65),
        "gochat_seconds_count[what=x]": 4,
        "gochat_never_total[]": 0,
    }
    assert metrics.expose().content_type.startswith("text/plain; version=0.0.4")


def test_metrics_refuse_what_makes_no_sense(metrics: ScrapedMetrics) -> None:
    """M1, M3: a counter does not go down, a name is one thing, labels are all given."""
    counter = metrics.counter("gochat_a_total", "A", ("x",))
    with pytest.raises(ValueError):
        counter.inc(-1, "x")
    with pytest.raises(ValueError):
        counter.inc(1)
    with pytest.raises(ValueError):
        metrics.gauge("gochat_a_total", "A", ("x",))
    with pytest.raises(ValueError):
        metrics.counter("gochat_a_total", "A", ("y",))
    with pytest.raises(ValueError):
        metrics.counter("no name", "A")


def test_make_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package it is used; without it /metrics works all the same."""
    need("prometheus_client", "prometheus-client")
    assert isinstance(make_metrics(), PrometheusMetrics)
    assert b"process_" in make_metrics().expose().body
    monkeypatch.setattr(prometheus_module, "prometheus_client", None)
    assert isinstance(make_metrics(), TextMetrics)
    with pytest.raises(ImportError, match="pip install"):
        PrometheusMetrics()


# ---- traces ----


@pytest.fixture
def exported() -> Iterator[tuple[Any, Any]]:
    """A tracer, and where its spans end up."""
    need("opentelemetry.sdk", "opentelemetry-sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from examples.chat.telemetry.otel import OtelTracer

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield OtelTracer(provider), exporter
    provider.shutdown()


async def test_trace_through_every_hand(exported: tuple[Any, Any]) -> None:
    """Row 21: the trace of a client is that of the span, of the log record, of the goroutine's work, and of the notice
    that the downstream service gets."""
    tracer, exporter = exported
    told: list[Notice] = []
    lines: list[bytes] = []

    async def send(notice: Notice) -> None:
        lines.append(json_line(logging.makeLogRecord({"msg": "telling"})))
        told.append(notice)

    downstream = Downstream(send, telemetry=Telemetry(tracer=tracer), deadline=10)

    async def publish(traceparent: str) -> None:
        lines.append(json_line(logging.makeLogRecord({"msg": "publishing"})))
        downstream.offer(Notice("lobby", "ann", "hi", 1, 0, traceparent))

    with tracer.span("say", parent=PARENT, room="lobby") as span:
        span.set("size", 2)
        async with Group() as group:
            group.go(publish, span.traceparent)
    downstream.close()
    await downstream.run()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"say", "notify"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert f"{spans['say'].parent.span_id:016x}" == "b7ad6b7169203331"
    assert spans["notify"].parent.span_id == spans["say"].context.span_id
    assert dict(spans["say"].attributes) == {"gochat.room": "lobby", "gochat.size": 2}
    assert {json.loads(line)["trace.id"] for line in lines} == {TRACE}
    assert json.loads(lines[0])["span.id"] == f"{spans['say'].context.span_id:016x}"
    assert trace_id_of(told[0].traceparent) == TRACE


async def test_spans_of_two_sessions(exported: tuple[Any, Any]) -> None:
    """Goroutines that take turns inside their spans do not get into each other's."""
    tracer, exporter = exported

    async def session() -> None:
        with tracer.span("outer"):
            await sleep(0)
            with tracer.span("inner"):
                await sleep(0)

    async with Group() as group:
        for _ in range(5):
            group.go(session)
    inner = [span for span in exporter.get_finished_spans() if span.name == "inner"]
    outer = {span.context.span_id: span for span in exporter.get_finished_spans() if span.name == "outer"}
    assert len({span.parent.span_id for span in inner}) == len(outer) == 5
    assert all(outer[span.parent.span_id].context.trace_id == span.context.trace_id for span in inner)


def test_no_sdk_and_nonsense(exported: tuple[Any, Any]) -> None:
    """Without an SDK the trace is handed on; a parent that is none starts a trace of its own; an error goes through."""
    from opentelemetry.trace import NoOpTracerProvider

    from examples.chat.telemetry.otel import OtelTracer

    with OtelTracer(NoOpTracerProvider()).span("say", parent=PARENT) as span:
        assert trace_id_of(span.traceparent) == TRACE
    with OtelTracer(NoOpTracerProvider()).span("say") as span:
        assert span.traceparent is None
    tracer, exporter = exported
    with pytest.raises(KeyError), tracer.span("say", parent="00-evil\r\n"):
        raise KeyError
    (failed,) = exporter.get_finished_spans()
    assert failed.parent is None
    assert not failed.status.is_ok


# ---- errors ----


def sentry(sent: list[Any]) -> Any:
    need("sentry_sdk", "sentry-sdk")
    from sentry_sdk.transport import Transport

    from examples.chat.telemetry.sentry import SentryReporter

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            sent.append(envelope.get_event())

    return SentryReporter("https://key@sentry.invalid/1", environment="test", transport=Kept)


async def test_sentry() -> None:
    """Row 21: an error of a session is sent once, with the session's id, its trace and its stack, and no more: neither
    the user's name, nor what was in variables."""
    sent: list[Any] = []
    errors = sentry(sent)

    async def session(sid: str) -> None:
        secret = "what ann typed"
        with bound(session=sid, user="ann", trace=TRACE):
            await sleep(0)
            try:
                raise ValueError(len(secret))
            except ValueError as error:
                errors.report(error, where="reader")
                errors.report(error, where="again")

    async with Group() as group:
        for sid in ("one", "two"):
            group.go(session, sid)
    assert sorted((event["tags"]["session"], event["tags"]["where"]) for event in sent) == [
        ("one", "reader"), ("two", "reader"),
    ]  # fmt: skip
    event = sent[0]
    assert event["tags"]["trace"] == TRACE
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "session"
    assert "ann" not in json.dumps(event.get("tags"))
    assert all("vars" not in frame for frame in event["exception"]["values"][-1]["stacktrace"]["frames"])
    errors.close()


def test_a_reporter_that_fails(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in reporting goes nowhere but to the log."""
    errors = sentry([])

    def broken(**_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(errors, "_new_scope", broken)
    errors.report(ValueError("x"), sid="s")
    assert [record.name for record in caplog.records] == ["examples.chat.telemetry.sentry"]


def test_no_dsn() -> None:
    """A DSN that is none is an error of the start."""
    need("sentry_sdk", "sentry-sdk")
    from examples.chat.telemetry.sentry import SentryReporter

    with pytest.raises(ValueError, match="DSN"):
        SentryReporter("https://nothing")


def test_report_once_marks_anything() -> None:
    """Every exception can be marked, and is new only once."""
    for error in (ValueError(), KeyboardInterrupt(), OSError(1, "x"), ExceptionGroup("x", [ValueError()])):
        assert report_once(error)
        assert not report_once(error)
