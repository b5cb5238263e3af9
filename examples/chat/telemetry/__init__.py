"""What a server says about itself: log records, metrics, spans, errors.

``base`` has the protocols and the defaults, which do nothing; ``text_metrics`` and ``logs`` need no other package;
``prometheus``, ``otel`` and ``sentry`` use one each and are imported by whoever wants them.
"""

from __future__ import annotations

from .base import BREAKER_MEANING as BREAKER_MEANING
from .base import BREAKER_STATES as BREAKER_STATES
from .base import NULL as NULL
from .base import Counter as Counter
from .base import ErrorReporter as ErrorReporter
from .base import Exposition as Exposition
from .base import Gauge as Gauge
from .base import Histogram as Histogram
from .base import Logger as Logger
from .base import LoggingReporter as LoggingReporter
from .base import Metrics as Metrics
from .base import NullErrors as NullErrors
from .base import NullMetrics as NullMetrics
from .base import NullTracer as NullTracer
from .base import ScrapedMetrics as ScrapedMetrics
from .base import Span as Span
from .base import Telemetry as Telemetry
from .base import Tracer as Tracer
from .base import report_once as report_once
from .tracing import bound as bound
from .tracing import current as current
from .tracing import trace_id_of as trace_id_of
