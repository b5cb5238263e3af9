"""Errors to Sentry: only those that nobody expected, each once, with the session they happened in.

    errors = SentryReporter(dsn);  errors.report(error, sid=session.sid);  errors.close()
    pip install 'pygochan[chat-sentry]'

A client of our own, not ``sentry_sdk.init``: that changes the whole program (hooks for logging, asyncio, exceptions,
the interpreter's end), and a server that is embedded has no right to. What is sent is the error and its tags, without
local variables, request bodies or user names: messages of users do not leave the machine with a stack trace.

Sending happens in the package's own thread, behind its bounded queue; ``report`` waits for nothing.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from .base import report_once
from .tracing import current

log = logging.getLogger(__name__)

_REMEDY: Final = "sentry-sdk is missing: pip install 'pygochan[chat-sentry]'"


class SentryReporter:
    """Reports to the project that the DSN names.

    Args:
        dsn: where to.
        environment: such as "production".
        release: the version of the program.
        transport: takes envelopes in place of the network; for tests.

    Raises:
        ImportError: sentry-sdk is not installed.
        ValueError: no DSN.
    """

    def __init__(
        self, dsn: str, *, environment: str | None = None, release: str | None = None, transport: Any = None
    ) -> None:
        try:
            import sentry_sdk
            from sentry_sdk.utils import BadDsn, event_from_exception
        except ImportError as error:
            raise ImportError(_REMEDY) from error
        self._new_scope: Any = sentry_sdk.Scope
        self._event_of: Any = event_from_exception
        try:
            self._client: Any = sentry_sdk.Client(
                dsn=dsn,
                environment=environment,
                release=release,
                transport=transport,
                default_integrations=False,
                auto_enabling_integrations=False,
                include_local_variables=False,
                max_request_body_size="never",
                server_name="",
            )
        except BadDsn as error:
            raise ValueError(f"no DSN of Sentry: {error}") from error

    def report(self, error: BaseException, /, **tags: str) -> None:
        if not report_once(error):
            return
        try:
            # A scope for each report: one that is shared would mix the tags of two sessions.
            scope = self._new_scope()
            for key, value in {**current(), **tags}.items():
                if key != "user":
                    scope.set_tag(key, value)
            # Not scope.capture_exception: that asks the program's global scopes for a client, not this one.
            event, hint = self._event_of(error, client_options=self._client.options)
            self._client.capture_event(event, hint=hint, scope=scope)
        except Exception:  # the reporter of errors must not be one
            log.exception("an error could not be reported: %r", error)

    def close(self, timeout: float = 2.0) -> None:
        """Send what is on its way, for so many seconds; blocks, so call it in a thread or after the loop."""
        self._client.close(timeout=timeout)
