"""``python -m examples.chat``: reads the command line, runs the server, turns what happens into an exit code."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import gochan

from .config import from_command_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the exit code."""
    settings = from_command_line(argv)
    for name in ("websockets", settings.backend, *(["uvloop"] if settings.uvloop else [])):
        if find_spec(name) is None:
            return _refuse(f"{name} is missing: pip install {name}")
    from .server import StartError, serve  # not before: --help needs no libraries
    from .telemetry.setup import set_up

    try:
        seen = set_up(
            metrics=settings.metrics,
            log_format=settings.log_format,
            log_level=settings.log_level,
            log_file=settings.log_file,
            otel=settings.otel,
            sentry=settings.sentry,
        )
    except (ImportError, OSError, ValueError) as error:
        return _refuse(str(error))
    # What a connection consists of stays as long as it does: ten thousand of them are a million objects, which the
    # collector's defaults have it look through again and again, for two thirds of what idle clients cost in all.
    thresholds = gc.get_threshold()
    gc.set_threshold(20_000, 50, 100)
    options = {"use_uvloop": True} if settings.uvloop else {}
    try:
        gochan.run(serve, settings, seen, backend=settings.backend, backend_options=options)
    except StartError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:  # Ctrl-C before the server listens for signals, or once more when it no longer does
        return 130
    except Exception:
        logging.getLogger(__name__).critical("the server failed", exc_info=True)
        return 1
    finally:
        gc.set_threshold(*thresholds)
        seen.close()
    return 0


def _refuse(reason: str) -> int:
    print(f"gochan chat: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
