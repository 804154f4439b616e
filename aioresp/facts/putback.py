"""Put-back of a blocking pop: the elements that it took, and the command that returns them to their key.

Owns the reading of elements from a reply, the script that takes effect once, and the report of a loss. Never sends
anything.
"""

from __future__ import annotations

import logging
import os
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal

from aioresp.arguments import word
from aioresp.command import Arguments, locate
from aioresp.facts.traits import Traits, stream_options, traits
from aioresp.record import Record

logger = logging.getLogger("aioresp")

#: The reply to a command that waits for EXEC.
QUEUED: Final = b"QUEUED"

#: Commands that do nothing, by the blocking command that they precede. CLIENT PAUSE WRITE holds back both.
_GUARDS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BLMPOP", "BLMOVE", "BLMOVEM", "BRPOPLPUSH"), ("LPOP", "0")),
    **dict.fromkeys(("BZPOPMIN", "BZPOPMAX", "BZMPOP"), ("ZPOPMIN", "0")),
}

#: Milliseconds for which a server remembers a put-back: longer than any attempt may take to reach it.
REMEMBERED: Final = 300_000

# Script that puts elements back, unless it has done so before. It returns 0 if it has, else 1, or 2 if the key was not
# there. A second key, the token, remembers that: "1" once the elements are back, "0" for a millisecond after an error.
# Deleting the token instead would need one more permission. An error gets the code of its cause, which Redis 6.2 hides
# in its text. The script reads the token first: even a server that takes no writes can tell it. The elements go in
# thousands, because Lua passes no more than a few thousand arguments.
_SCRIPT: Final = """\
local function refused(reply)
  return {err = string.match(reply.err, ': %-(%u+ .*)') or reply.err}
end
local done = redis.pcall('GET', KEYS[2])
if type(done) == 'table' and done.err then return refused(done) end
if done == '1' then return 0 end
local known = redis.pcall('EXISTS', KEYS[1])
local noted = redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[1])
if noted.err then return refused(noted) end
local words = ARGV[2] == 'ZADD' and 4 or 3
for first = words, #ARGV, 1000 do
  local last, reply = math.min(first + 999, #ARGV)
  if words == 4 then
    reply = redis.pcall(ARGV[2], KEYS[1], ARGV[3], unpack(ARGV, first, last))
  else
    reply = redis.pcall(ARGV[2], KEYS[1], unpack(ARGV, first, last))
  end
  if type(reply) == 'table' and reply.err then
    redis.pcall('SET', KEYS[2], '0', 'PX', 1)
    return refused(reply)
  end
end
return known == 0 and 2 or 1
"""

#: Values of `Lost.outcome`.
Fate = Literal["lost", "unknown"]
LOST: Final[Fate] = "lost"
UNKNOWN: Final[Fate] = "unknown"


class Lost(Record):
    """Elements that a blocking pop took, or may have taken, and that its caller did not get.

    `outcome` is "lost" if the elements are certainly not in their key: you may push them again. It is "unknown" if the
    reply to the pop, or to its put-back, never came: they may be in the key. Look before you push them again. With
    replicas, do so in either case: a failover may undo the pop, and the elements are in the key of the new primary.
    """

    command: Arguments
    """The pop, as it was sent."""
    key: bytes | None
    """The key that the elements were taken from; None if it is not known whether any were."""
    elements: tuple[bytes, ...]
    """The elements, in the order in which they were popped; empty if the reply never came, or made no sense."""
    scores: tuple[float, ...]
    """Their scores, if the key holds a sorted set."""
    error: Exception
    """The reason why they were not put back, or why that is not known."""
    outcome: Fate = "lost"
    """"lost": the elements are not in the key, unless a failover undid the pop. "unknown": they may be there, or may
    never have been popped."""

    def __repr__(self) -> str:
        """Show how many there are, but not what they are."""
        name, key = locate(self.command)
        return f"Lost({name} {key}, {len(self.elements)} elements, outcome={self.outcome!r}, error={self.error!r})"


class Popped(Record):
    """Elements that one pop took."""

    key: bytes
    elements: tuple[bytes, ...]
    scores: tuple[bytes | float, ...]
    """The scores as the server sent them: under RESP2 as text, so that a put-back changes no digit."""
    undoing: str
    """The command that puts them back."""

    def __repr__(self) -> str:
        return f"Popped({len(self.elements)} elements, {self.undoing})"

    def undo(self) -> Arguments:
        """Return the command that leaves the key as if nothing had been popped, with later additions kept."""
        if self.undoing != "ZADD":
            # The element that was popped last is pushed first: then the one popped first is outermost again.
            return (self.undoing, self.key, *reversed(self.elements))
        # NX keeps a score that another client has set meanwhile, as if the element had never been away.
        pairs = zip(self.scores, self.elements, strict=True)
        return ("ZADD", self.key, "NX", *(part for pair in pairs for part in pair))

    def undo_once(self, token: bytes) -> Arguments:
        """Return a command with the same effect, and with none if it has run with this token before."""
        command, key, *rest = self.undo()
        return ("EVAL", _SCRIPT, 2, key, token, REMEMBERED, command, *rest)


def token_for(key: bytes) -> bytes:
    """Return a new key that begins with `key`, for the sake of ACLs, and is in the same slot of a cluster."""
    name = key + b":put-back:" + os.urandom(8).hex().encode()
    start = key.find(b"{")
    if start >= 0 and key.find(b"}", start + 1) > start + 1:
        return name  # the hash tag alone makes the slot
    wanted = (crc_hqx(b"0" * _DIGITS, crc_hqx(name, 0)) ^ crc_hqx(key, 0)) & _SLOTS
    bits = int.from_bytes(b"0" * _DIGITS)
    for height, (change, flips) in _flips().items():
        if wanted.bit_length() == height:
            wanted ^= change
            bits ^= flips
    return name + bits.to_bytes(_DIGITS)


# The last characters of a token bring it into the slot of its list. The checksum is linear, so each bit of these
# characters flips the same bits of the slot in any token. Each has four free bits, from "0" to "?".
_DIGITS: Final = 4
_SLOTS: Final = 16383


@cache
def _flips() -> dict[int, tuple[int, int]]:
    """Return changes of the slot, and the bits of a token that make them, by the highest bit that changes."""
    found: dict[int, tuple[int, int]] = {}
    for bit in range(4 * _DIGITS):
        flips = 1 << 8 * (bit // 4) + bit % 4
        change = crc_hqx(flips.to_bytes(_DIGITS), 0) & _SLOTS
        while change and (known := found.get(change.bit_length())):
            change ^= known[0]
            flips ^= known[1]
        if change:
            found[change.bit_length()] = change, flips
    return dict(sorted(found.items(), reverse=True))


def popped(command: Sequence[Any] | Traits, reply: Any) -> Popped | None:
    """Return the elements in the raw reply of a pop; None if it took nothing.

    Raises ValueError, which shows nothing of the reply, for one that the command never has.
    """
    facts = traits(command)
    name, undoing, arguments = facts.name, facts.undoing, facts.arguments
    if undoing is None or reply is None or (isinstance(reply, bytes) and reply == QUEUED):
        return None
    match reply:
        case [bytes(key), bytes(element)] if name in ("BLPOP", "BRPOP"):
            return Popped(key, (element,), (), undoing)
        case [bytes(key), [_, *_] as elements] if name == "BLMPOP" and all(isinstance(one, bytes) for one in elements):
            direction = word(arguments[3 + int(word(arguments[2]))])
            return Popped(key, tuple(elements), (), "RPUSH" if direction == "RIGHT" else undoing)
        case [bytes(key), bytes(member), score] if name in ("BZPOPMIN", "BZPOPMAX") and _is_score(score):
            return Popped(key, (member,), (score,), undoing)
        case [bytes(key), [_, *_] as pairs] if name == "BZMPOP" and all(map(_is_pair, pairs)):
            return Popped(key, tuple(member for member, _ in pairs), tuple(score for _, score in pairs), undoing)
    raise ValueError(f"no reply of {name} looks like this")


def moved(command: Sequence[object] | Traits, reply: Any) -> bool:
    """Return whether the command may have this reply; of commands that move no element, any reply."""
    if traits(command).name not in ("BLMOVE", "BRPOPLPUSH"):
        return True
    return reply is None or isinstance(reply, (str, bytes))


def _is_score(score: object) -> bool:
    if isinstance(score, bytes):
        try:
            float(score)
        except ValueError:
            return False
        return True
    return isinstance(score, float)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], bytes) and _is_score(pair[1])


def report(
    on_lost: Callable[[Lost], object] | None,
    command: Arguments | Traits,
    taken: Popped | None,
    error: BaseException,
    outcome: Fate,
) -> None:
    """Log elements that a pop took, or may have taken, and that no caller got; call the hook."""
    facts = traits(command)
    arguments = tuple(facts.arguments)
    name, key = locate(facts)
    if taken is None:
        what = "an element may be lost"
    elif outcome == "unknown":
        what = f"elements that may be lost, or back in their key: {len(taken.elements)}"
    else:
        what = f"elements lost: {len(taken.elements)}"
    logger.error("%s %s: %s: %s", name, key, what, error)
    if on_lost is None:
        return
    assert isinstance(error, Exception)
    if taken is None:
        lost = Lost(arguments, None, (), (), error, outcome)
    else:
        scores = tuple(float(score) for score in taken.scores)
        lost = Lost(arguments, taken.key, taken.elements, scores, error, outcome)
    try:
        on_lost(lost)
    except Exception:
        logger.exception("on_lost raised an error")


def guard(command: Sequence[Any] | Traits) -> Arguments | None:
    """Return a command to send before the CLIENT UNBLOCK of this one; None if none is needed.

    While CLIENT PAUSE WRITE is on (FAILOVER uses it, too), a server holds back blocking commands that write. A CLIENT
    UNBLOCK of a command that is held back crashes the server (Redis 6.2 to 8.0, Valkey up to 8.1.1). The guard is a
    write, too, and the server holds it back: the CLIENT UNBLOCK is sent once it has run. A server that refuses writes
    by now, because it has become a replica or the slot has moved away, does not hold it back; see `Background`.
    """
    facts = traits(command)
    name, arguments = facts.name, facts.arguments
    try:
        if name == "XREADGROUP":
            options = stream_options(arguments)
            return ("XACK", arguments[options["STREAMS"]], arguments[options["GROUP"]], "0-0")
        if name in _GUARDS:
            harmless, count = _GUARDS[name]
            return (harmless, arguments[3 if name in ("BLMPOP", "BZMPOP") else 1], count)
    except (IndexError, KeyError):
        pass  # the server refuses it, so it never blocks
    return None
