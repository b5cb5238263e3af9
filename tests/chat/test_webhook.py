"""The webhook against a real socket: what the service is sent, and what counts as a success."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from examples.chat.downstream import Downstream, Notice, Outcome
from examples.chat.webhook import Webhook, WebhookError
from gochan import Group

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOTICE = Notice("lobby", "ann", 'hi "☃"\r\n', "m-1", 1_700_000_000_000, TRACEPARENT)


@contextlib.asynccontextmanager
async def service(answer: bytes, bound: float = 20.0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A service that reads a whole request and gives this answer: its address, and the requests."""
    requests: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(
                next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split(b":")[1]
            )
            while len(body) < length:
                body += await stream.receive()
            requests.append(head + b"\r\n\r\n" + body)
            with contextlib.suppress(anyio.BrokenResourceError):  # who has read the first line may hang up
                for start in range(0, len(answer), 1 + len(answer) // 50):  # in pieces
                    await stream.send(answer[start : start + 1 + len(answer) // 50])

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    with anyio.fail_after(bound):
        async with listener, Group() as group:
            group.go(listener.serve, serve)
            yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", requests
            group.cancel()


async def test_request() -> None:
    """One POST, with the message as JSON, its trace and its id as headers, and what else was asked for."""
    async with service(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, requests):
        await Webhook(f"{url}/hook?a=b", headers={"Authorization": "Bearer x"})(NOTICE)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Host"] == url.removeprefix("http://")
    assert headers["Authorization"] == "Bearer x"
    assert headers["traceparent"] == TRACEPARENT
    assert headers["Idempotency-Key"] == "m-1"
    assert json.loads(body) == {
        "room": "lobby", "from": "ann", "body": 'hi "☃"\r\n', "id": "m-1", "ts": 1_700_000_000_000,
    }  # fmt: skip


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 500 Oops\r\n\r\n", b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", b"HTTP/1.1 404 \r\n\r\n",
    b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 2", b"x" * 20_000,
])  # fmt: skip
async def test_not_taken(answer: bytes) -> None:
    """Anything but 2xx is an error, which is an OSError: the breaker counts it, nobody reports it."""
    async with service(answer) as (url, _):
        with pytest.raises(WebhookError):
            await Webhook(url)(NOTICE)


async def test_nobody_there() -> None:
    """A service that is not there is an OSError, too."""
    async with service(b"") as (url, _):
        pass
    with pytest.raises(OSError):
        await Webhook(url)(NOTICE)


async def test_headers_cannot_be_forged() -> None:
    """What a client sent as id or trace ends no header and starts none."""
    async with service(b"HTTP/1.1 200 OK\r\n\r\n") as (url, requests):
        await Webhook(url)(Notice("r", "u", "b", "a\r\nX-Evil: 1", 0, "00-\r\nX-Evil: 2"))
    head = requests[0].partition(b"\r\n\r\n")[0]
    assert b"Evil" not in head
    for bad in ({"X": "a\r\nb"}, {"X Y": "a"}, {"": "a"}):
        with pytest.raises(ValueError, match="header"):
            Webhook(url, headers=bad)


@pytest.mark.parametrize("url", ["", "host", "ftp://host", "http://", "http://a b", "http://u:p@host", "http://hö.de"])
def test_addresses_that_are_refused(url: str) -> None:
    """What is no address of a webhook is refused at the start, not at the first message."""
    with pytest.raises(ValueError, match="webhook"):
        Webhook(url)


async def test_behind_a_downstream() -> None:
    """The two together: what is offered arrives."""
    async with service(b"HTTP/1.1 200 OK\r\n\r\n") as (url, requests):
        downstream = Downstream(Webhook(url), deadline=15)
        downstream.offer(NOTICE)
        downstream.close()
        await downstream.run()
    assert downstream.counts[Outcome.DELIVERED] == len(requests) == 1
