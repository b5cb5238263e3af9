"""What the engine does in one step: Lua scripts, and the names of their keys.

Shape of what is kept, for each room, under one hash tag, so that a cluster would have it in one place
    {room}:m    hash     e epoch, s top offset, r the run of the engine that numbered last, d whether that was durable
    {room}:s    stream   the messages, with the ID <offset>-<milliseconds since 1970>
    {room}:k:…  string   <offset>:<epoch> of the publication with this key; it expires by itself
    {room}:p    hash     session to <length of node>:<node><user>; {room}:x has the times when they are over
    {room}:e    channel  <offset>:<epoch>:<payload>
and for the nodes
    {%nodes}:x    sorted set, nodes by when they count as dead; {%nodes}:n is a hash of who has the name
    {%nodes}:b:…  list, the mailbox of a node; {%nodes}:c:… is the channel that wakes it

Invariants
    R1  Number, message, key and event are one step of the engine: whoever sees one of them finds the others (B2).
    R2  An epoch outlives a restart of the engine only if nothing can have been lost by it: both the run that wrote the
        numbers last and the one that goes on were durable. Otherwise the room begins anew, in another epoch (B1).
    R3  A room without a meta hash has no messages: what is left of it is dropped with the first look.
    R4  All times are the engine's: the clocks of the nodes need not agree.

Why R2, and not whatever the engine comes back with: one that lost its last second (a snapshot, fsync once a second)
would give offsets a second time, to other messages. A member that saw the first ones would never learn of the others:
a silent gap.

Why the time is in a message's ID and not in a field: IDs must only grow, and offsets do whatever the clock does.

Prior art: Centrifugo's Redis engine (offset, stream, epoch and PUBLISH in one script).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name by which the engine knows it once it was loaded."""

    text: bytes
    sha: bytes


def _script(*parts: str) -> Script:
    text = "\n".join(parts).encode()
    return Script(text, hashlib.sha1(text).hexdigest().encode())  # noqa: S324  # the engine names scripts so


class Keys:
    """The names of keys and channels, below a prefix."""

    def __init__(self, prefix: str) -> None:
        if not prefix or set(prefix) & set("{}"):
            raise ValueError(f"a prefix of keys has no braces, and is not empty; not {prefix!r}")
        self._prefix = prefix.encode()
        self.alive = self._nodes(b"x")
        self.names = self._nodes(b"n")

    def room(self, room: str, part: bytes) -> bytes:
        """A key of a room."""
        # A hash tag ends at the first brace and must not be empty.
        name = room.encode().replace(b"%", b"%25").replace(b"}", b"%7D") or b"%"
        return b"%b:{%b}:%b" % (self._prefix, name, part)

    def key(self, room: str, key: str) -> bytes:
        """Where the key of a publication is kept."""
        return self.room(room, b"k:" + key.encode())

    def mailbox(self, node: str) -> bytes:
        """What other nodes said to a node."""
        return self._nodes(b"b:" + node.encode())

    def wake(self, node: str) -> bytes:
        """The channel that tells a node of it."""
        return self._nodes(b"c:" + node.encode())

    def _nodes(self, part: bytes) -> bytes:
        # No room is written so: after a percent sign in one come two digits.
        return b"%b:{%%nodes}:%b" % (self._prefix, part)


_NOW: Final = """
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function ms(number) return string.format('%.0f', number) end
"""

# run, durable, fresh epoch are ARGV 1 to 3 of all that look at a room.
_OPEN: Final = """
local function open()
  local m = redis.call('HMGET', KEYS[1], 'e', 's', 'r', 'd')
  if m[1] and m[3] == ARGV[1] then return m[1], tonumber(m[2]), false end
  if m[1] and m[4] == '1' and ARGV[2] == '1' then
    redis.call('HSET', KEYS[1], 'r', ARGV[1])
    return m[1], tonumber(m[2]), false
  end
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'e', ARGV[3], 's', 0, 'r', ARGV[1], 'd', ARGV[2])
  return ARGV[3], 0, true
end
"""

PUBLISH: Final = _script(
    _NOW,
    _OPEN,
    """
-- KEYS meta, stream[, key]   ARGV … payload, channel, messages, window ms, room ms, key ms
local epoch, top = open()
if KEYS[3] then
  local seen = redis.call('GET', KEYS[3])
  if seen then
    local off, at = string.match(seen, '^(%d+):(.*)$')
    if at == epoch then return {tonumber(off), epoch, 1} end
  end
end
top = redis.call('HINCRBY', KEYS[1], 's', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], ms(top) .. '-' .. ms(now()), 'd', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[8])
local at = ms(top) .. ':' .. epoch
if KEYS[3] then redis.call('SET', KEYS[3], at, 'PX', ARGV[9]) end
redis.call('PUBLISH', ARGV[5], at .. ':' .. ARGV[4])
return {top, epoch, 0}
""",
)

HISTORY: Final = _script(
    _NOW,
    _OPEN,
    """
-- KEYS meta, stream   ARGV … window ms, look ms, since (or ''), limit, reverse
local epoch, top, made = open()
if made then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
local first, cut = top + 1, now() - tonumber(ARGV[4])
while true do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if not oldest then break end
  local off, at = string.match(oldest[1], '^(%d+)-(%d+)$')
  if tonumber(at) > cut then
    first = tonumber(off)
    break
  end
  redis.call('XDEL', KEYS[2], oldest[1])
end
local since, limit = tonumber(ARGV[6]), tonumber(ARGV[7])
local from, to
if ARGV[8] == '1' then
  to = since and since - 1 or top
  from = math.max(to - limit + 1, first)
else
  from = since and since + 1 or first
  to = from + limit - 1
end
local entries = {}
if limit > 0 and to >= from and to >= 1 then
  entries = redis.call('XRANGE', KEYS[2], ms(math.max(from, 0)), ms(to))
end
return {epoch, top, first, entries}
""",
)

WATCH: Final = _script(
    _OPEN,
    """
-- KEYS meta, stream   ARGV … room ms
local epoch = open()
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return epoch
""",
)

ARRIVE: Final = _script(
    _NOW,
    """
-- KEYS who, until   ARGV session, value, ttl ms
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ms(now() + tonumber(ARGV[3])), ARGV[1])
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[3]) then redis.call('PEXPIRE', key, ARGV[3]) end
end
return 1
""",
)

DEPART: Final = _script(
    """
-- KEYS who, until   ARGV session, owner: only if the entry begins with this
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if entry and string.sub(entry, 1, #ARGV[2]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return 1
"""
)

PRESENT: Final = _script(
    _NOW,
    """
-- KEYS who, until
for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ms(now()))) do
  redis.call('HDEL', KEYS[1], session)
  redis.call('ZREM', KEYS[2], session)
end
return redis.call('HGETALL', KEYS[1])
""",
)

BEAT: Final = _script(
    _NOW,
    """
-- KEYS alive, names, mailbox   ARGV node, incarnation, ttl ms, channel
local time = now()
local name = redis.call('HGET', KEYS[2], ARGV[1])
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if name ~= ARGV[2] then
  if known and tonumber(known) > time then return 0 end
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('DEL', KEYS[3])
end
redis.call('ZADD', KEYS[1], ms(time + tonumber(ARGV[3])), ARGV[1])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms(time - 10 * tonumber(ARGV[3])))) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
redis.call('PUBLISH', ARGV[4], 'beat')
return 1
""",
)

LEAVE: Final = _script(
    """
-- KEYS alive, names, mailbox   ARGV node, incarnation
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[3])
end
return 1
"""
)

NODES: Final = _script(
    _NOW,
    """
-- KEYS alive
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ms(now()), '+inf')
""",
)

# The mailboxes of all nodes are not among KEYS, since only the script knows who is alive. They have the tag of the one
# that is, so a cluster has them in the same place.
TELL: Final = _script(
    _NOW,
    """
-- KEYS alive   ARGV node (or ''), message, mailbox, channel, capacity, ttl ms   (names are appended)
local nodes = {}
if ARGV[1] == '' then
  nodes = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ms(now()), '+inf')
else
  local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if known and tonumber(known) > now() then nodes = {ARGV[1]} end
end
local taken = 0
for _, node in ipairs(nodes) do
  local mailbox = ARGV[3] .. node
  if redis.call('LLEN', mailbox) < tonumber(ARGV[5]) then
    redis.call('RPUSH', mailbox, ARGV[2])
    redis.call('PEXPIRE', mailbox, ARGV[6])
    redis.call('PUBLISH', ARGV[4] .. node, 'mail')
    taken = taken + 1
  end
end
return taken
""",
)

ALL: Final = (PUBLISH, HISTORY, WATCH, ARRIVE, DEPART, PRESENT, BEAT, LEAVE, NODES, TELL)
