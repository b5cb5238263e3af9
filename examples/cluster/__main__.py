"""``python -m examples.cluster``: reads the command line, runs the cluster, gives the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

import gochan

from .options import from_command_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster; the exit code."""
    options = from_command_line(sys.argv[1:] if argv is None else argv)
    for name, extra in (("websockets", "chat"), ("coredis", "chat-redis")):
        if find_spec(name) is None:
            return _refuse(f"{name} is missing: pip install 'pygochan[{extra}]'")
    from .cluster import serve
    from .console import Console
    from .service import StartError

    console = Console(width=len(f"node-{options.nodes}"))
    try:
        return gochan.run(serve, options, console)
    except StartError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:  # before signals were listened for, or after
        return 130


def _refuse(reason: str) -> int:
    print(f"gochan cluster: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
