"""What a blocking pop takes from the server, and how it is given back.

Owns the facts of the commands that remove elements: which those are, which end they take from, what undoes them. Never
sends anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aioresp.arguments import word
from aioresp.command import Arguments, locate, stream_options
from aioresp.record import Record

#: What puts back the elements that a pop removed. Not here: moves, whose elements are in another list, and reads of
#: streams, which leave theirs where they are.
_UNDOING: Final[dict[str, str]] = {
    "BLPOP": "LPUSH",
    "BRPOP": "RPUSH",
    "BLMPOP": "LPUSH",  # or RPUSH: its direction says so
    **dict.fromkeys(("BZPOPMIN", "BZPOPMAX", "BZMPOP"), "ZADD"),
}

#: Commands that do nothing, and that a server holds back as it does the blocking ones while CLIENT PAUSE WRITE is on.
_GUARDS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BLMPOP", "BLMOVE", "BLMOVEM", "BRPOPLPUSH"), ("LPOP", "0")),
    **dict.fromkeys(("BZPOPMIN", "BZPOPMAX", "BZMPOP"), ("ZPOPMIN", "0")),
}


class Lost(Record):
    """Elements that a blocking pop took, or may have taken, for a caller who had gone, and that were not put back."""

    command: Arguments
    """The pop, as it was sent."""
    key: bytes | None
    """The key that the elements were taken from; None if it is not known whether any were."""
    elements: tuple[bytes, ...]
    """The elements, in the order in which they were popped. Empty: the connection ended before the reply came."""
    scores: tuple[float, ...]
    """Their scores, if the key holds a sorted set."""
    error: Exception
    """Why they were not put back."""

    def __repr__(self) -> str:
        """Show how many there are, but not what they are."""
        name, key = locate(self.command)
        return f"Lost({name} {key}, {len(self.elements)} elements, error={self.error!r})"


class Popped(Record):
    """What one pop took."""

    key: bytes
    elements: tuple[bytes, ...]
    scores: tuple[bytes | float, ...]
    """As the server gave them: as text under RESP2, so that nothing is lost on the way back."""
    undoing: str
    """The command that puts them back."""

    def __repr__(self) -> str:
        return f"Popped({len(self.elements)} elements, {self.undoing})"

    def undo(self) -> Arguments:
        """Return the command that leaves the key as if nothing had been popped, but for what was added meanwhile."""
        if self.undoing != "ZADD":
            # The element that was popped last is pushed first: then the one popped first is outermost again.
            return (self.undoing, self.key, *reversed(self.elements))
        # NX: who set another score meanwhile would have done so with the element still there, too.
        pairs = zip(self.scores, self.elements, strict=True)
        return ("ZADD", self.key, "NX", *(part for pair in pairs for part in pair))


def takes(arguments: Sequence[object]) -> bool:
    """Return whether the command removes what it returns."""
    return word(arguments[0]) in _UNDOING


def popped(arguments: Sequence[Any], reply: Any) -> Popped | None:
    """Return what the command took, by its raw reply; None if it took nothing."""
    name = word(arguments[0])
    undoing = _UNDOING.get(name)
    if undoing is None or not isinstance(reply, list) or not reply:
        return None  # nothing came in time; or QUEUED, in a transaction
    if name in ("BLPOP", "BRPOP"):
        return Popped(reply[0], (reply[1],), (), undoing)
    if name == "BLMPOP":
        direction = word(arguments[3 + int(word(arguments[2]))])
        return Popped(reply[0], tuple(reply[1]), (), "RPUSH" if direction == "RIGHT" else undoing)
    pairs = reply[1] if name == "BZMPOP" else [reply[1:]]
    return Popped(reply[0], tuple(member for member, _ in pairs), tuple(score for _, score in pairs), undoing)


def guard(arguments: Sequence[Any]) -> Arguments | None:
    """Return a command that must stand before the CLIENT UNBLOCK of this one, if there is need of one.

    While CLIENT PAUSE WRITE is on (FAILOVER uses it, too), a blocking command that writes is held back before it
    blocks, and CLIENT UNBLOCK of such a one crashes the server (Redis 6.2 to 8.0, Valkey up to 8.1.1). As far as the
    server can tell, the guard writes, too: it is held back as well, and the CLIENT UNBLOCK behind it.
    """
    name = word(arguments[0])
    try:
        if name == "XREADGROUP":
            options = stream_options(arguments)
            return ("XACK", arguments[options["STREAMS"]], arguments[options["GROUP"]], "0-0")
        if name in _GUARDS:
            command, count = _GUARDS[name]
            return (command, arguments[3 if name in ("BLMPOP", "BZMPOP") else 1], count)
    except (IndexError, KeyError):
        pass  # the server refuses it, so it never blocks
    return None
