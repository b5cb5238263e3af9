"""A log record as one line: JSON for machines, text for people.

The JSON names are those of the Elastic Common Schema, so that the usual shippers need no mapping:

    {"@timestamp":"2026-11-23T17:00:00.123Z","log.level":"info","log.logger":"examples.chat.hub","message":"ann joins",
     "session.id":"…","user.name":"ann","trace.id":"…","span.id":"…","labels":{"room":"lobby"},
     "error.type":"…","error.message":"…","error.stack_trace":"…"}

Invariants
    J1  A record is one line of at most ``LONGEST`` bytes or a little more, whatever a user has typed: line ends and
        other control characters are escaped, in text too, where they could forge a record or command a terminal.
    J2  Making a line never raises. A record whose arguments do not fit its message is shown as it is.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from .tracing import current

LONGEST: Final = 16_384
_NAMES: Final = {"session": "session.id", "user": "user.name", "trace": "trace.id", "span": "span.id"}
# What every record has; anything else came with ``extra``.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN: Final = (str, int, float, bool, type(None))


def json_line(record: logging.LogRecord) -> bytes:
    """One line of JSON, with its line end."""
    fields: dict[str, Any] = {
        "@timestamp": _time(record),
        "log.level": record.levelname.lower(),
        "log.logger": record.name,
        "message": _cut(_message(record)),
    }
    for name, value in current().items():
        fields[_NAMES.get(name, name)] = value
    labels = {key: value if isinstance(value, _PLAIN) else _shown(value) for key, value in _extra(record)}
    if labels:
        fields["labels"] = labels
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        fields["error.type"] = type(error).__qualname__
        fields["error.message"] = _cut(_shown(error, str))
        fields["error.stack_trace"] = _cut(_trace(error))
    # A lone surrogate is no UTF-8, but as an escape it is JSON.
    return (
        json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="backslashreplace")
        + b"\n"
    )


def text_line(record: logging.LogRecord) -> bytes:
    """One line for a terminal, with its line end; a traceback follows, indented."""
    bound = [f"{name}={value}" for name, value in current().items()]
    extra = [f"{key}={_shown(value, str)}" for key, value in _extra(record)]
    words = " ".join([_time(record), f"{record.levelname:<7}", _cut(_message(record)), *extra, *bound])
    line = _CONTROL.sub(lambda match: repr(match[0])[1:-1], words)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        for part in _cut(_trace(error)).splitlines():
            line += "\n    " + _CONTROL.sub(lambda match: repr(match[0])[1:-1], part)
    return line.encode(errors="backslashreplace") + b"\n"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return f"{_shown(record.msg)} with {_shown(record.args)}"  # J2


def _extra(record: logging.LogRecord) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in vars(record).items() if key not in _OWN]


def _shown(value: object, how: Any = repr) -> str:
    try:
        return str(how(value))
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return _shown(error)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… and {len(text) - LONGEST} more"
