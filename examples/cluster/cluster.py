"""The cluster: first the engine, then the nodes; at the end first the nodes, then the engine.

Shape
    serve ─┬─ engine ── a Service
           ├─ node-1 ── a Service
           └─ node-2 ── a Service ...
    A signal, or a service that cannot be started, ends it all.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from gochan import CancelContext, Goroutine, Group, after, notify_context, select, sleep

from .console import Console
from .options import Options
from .programs import HOST, Directory, check_ports, engine, free_port, node
from .service import Service, StartError

START_SECONDS: Final = 30.0
# Whoever starts us through `make` or `timeout` may have one signal reach us twice.
_ECHO: Final = 0.2


async def serve(options: Options, console: Console) -> int:
    """Run the cluster until SIGINT or SIGTERM; the exit code.

    Raises:
        StartError: something cannot be started.
    """
    check_ports(options)
    with ExitStack() as stack:
        async with notify_context() as told, Group(errors="first") as group:
            services: list[Service] = []
            running: list[Goroutine[None]] = []

            async def start(*added: Service) -> bool:
                for service in added:
                    services.append(service)
                    running.append(group.go(service.run, name=service.name))
                return all([await _up(service, told) for service in added])

            url = options.engine
            begun = True
            if not url:
                port = free_port()
                url = f"redis://{HOST}:{port}/0"
                begun = await start(engine(options, _directory(options, stack), port, console))
                kept = f", its data in {options.data}" if options.data else ", which keeps nothing on disk"
                console.say(f"the engine is at {url}{kept}")
            own = len(services)
            if begun and await start(*(node(options, 1 + n, url, console) for n in range(options.nodes))):
                _greet(options)
                await told.done.wait()
            console.say(f"{told.cause}: stopping")
            hurry = group.go(_hurry, services, console, name="second signal")
            for part in (slice(own, None), slice(own)):  # the engine last: nodes say goodbye through it
                for service in services[part]:
                    service.stop.set()
                for one in running[part]:
                    await one.result()
            hurry.cancel()
            return 130 if any(service.kill.is_set() for service in services) else 0


async def _up(service: Service, told: CancelContext) -> bool:
    """Whether it is ready, rather than a signal having come."""
    which, _ = await select(service.up, told.done, after(START_SECONDS))
    if which == 2:
        raise StartError(f"{service.name} is not ready after {START_SECONDS:g} s")
    return which == 0


async def _hurry(services: Sequence[Service], console: Console) -> None:
    await sleep(_ECHO)
    async with notify_context() as told:
        await told.done.wait()
    console.say(f"{told.cause} again: everything is killed")
    for service in services:
        service.kill.set()
        service.stop.set()


def _directory(options: Options, stack: ExitStack) -> Path:
    if options.data is not None:
        return stack.enter_context(Directory(options.data))
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gochat-")))


def _greet(options: Options) -> None:
    print("gochan cluster: one chat; open any of", *(f"http://{HOST}:{port}/" for port in options.ports))
    for port in options.ports:
        print(f"in a terminal: python -m examples.chat.client --host {HOST} --port {port}")
    sys.stdout.flush()
