"""What a catch-up takes out of the outbox is read again, also for a member that had fallen behind before."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chat.test_session import session

from examples.chat.rooms import Batch, Member
from examples.chat.wire import Close, Encoded, Goodbye


def said(room: str, first: int, count: int = 1, ep: str = "e") -> Batch:
    frames = [Encoded({"t": "msg", "room": room, "off": first + n, "ep": ep}) for n in range(count)]
    return Batch(room, first, ep, frames)


@pytest.mark.parametrize("case", ["behind", "joins", "begun anew"])
async def test_what_is_shed_is_read_again(case: str) -> None:
    """Another room overflows the outbox: a member that is behind already reads what it loses there, too; one that has
    left and joins again has nothing to do with it; nor has one whose offsets began anew."""
    async with session(outbox=8, fanout="queue") as (client, stream):
        read: list[Any] = []
        client.memberships._catching_up = True  # how it goes on is another test's
        a = client.rooms["a"] = Member("a", last=5, ep="e", live=True)
        b = client.rooms["b"] = Member("b", last=0, ep="e", live=True)
        client.offer(a, said("a", 1, 5))
        if case == "behind":
            client.behind(a)
        elif case == "joins":
            a = client.rooms["a"] = Member("a")
        else:
            a.last, a.ep = 2, "f"
        client.offer(b, said("b", 1, 8))
        assert not b.live
        if case == "behind":
            assert (a.last, a.live) == (0, False)
        elif case == "joins":
            assert client.memberships._behind.keys() == {"b"}
        else:
            assert a.last == 2
        client.close(Goodbye(Close.NORMAL, "bye"))
        stream.let_go.set()
        del read
