"""Refusal of commands that would hurt a server, or touch what is not the benchmark's.

Owns the reasons. A command that neither only reads nor names its keys is refused. Never asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioresp.arguments import word
from aioresp.facts.catalogue import FOREIGN_KEYS, KEYLESS, KEYS
from aioresp.facts.traits import Traits, movable

#: Placeholders with which a key of the benchmark begins.
OWN = ("{key}", "{prefix}")

_WALKS = "it walks through all keys and holds up every other client meanwhile"
_DELETES = "it deletes data that is not the benchmark's"
_SETTINGS = "it changes or reads the server itself, not data"
_SCRIPT = "a script may do anything with any key"
_DISK = "it makes the server write to disk"

_REASONS: Final[dict[str, str]] = {
    "KEYS": _WALKS,
    **dict.fromkeys(("FLUSHALL", "FLUSHDB", "SWAPDB"), _DELETES),
    "SHUTDOWN": "it ends the server",
    **dict.fromkeys(("FAILOVER", "REPLICAOF", "SLAVEOF", "CLUSTER"), "it changes who is the primary of what"),
    **dict.fromkeys(("DEBUG", "PFDEBUG", "PFSELFTEST"), "it can stop or crash the server"),
    **dict.fromkeys(("CONFIG", "ACL", "MODULE", "CLIENT", "LATENCY", "SLOWLOG", "COMMANDLOG", "HOTKEYS"), _SETTINGS),
    **dict.fromkeys(("SAVE", "BGSAVE", "BGREWRITEAOF", "BACKUP"), _DISK),
    **dict.fromkeys(("SCRIPT", "FUNCTION"), _SCRIPT),
    "MIGRATE": "it moves keys to another server",
    "MOVE": "it moves keys to another database, where nobody deletes them",
    "RESTORE-ASKING": "it is for the nodes of a cluster",
    **dict.fromkeys(("MONITOR", "SYNC", "PSYNC"), "the server would send all that happens on it from then on"),
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), "messages are no replies: there is nothing to measure"),
    **dict.fromkeys(("PUBLISH", "SPUBLISH"), "the subscribers of the channel would get the messages"),
    **dict.fromkeys(("WAIT", "WAITAOF"), "it waits for replicas or the disk, and holds up its connection"),
    "QUIT": "it ends its connection",
}

#: Commands that run code which may write.
_SCRIPTS: Final = ("EVAL", "EVALSHA", "FCALL")

#: Keys that one SCAN may look at.
_MOST_SCANNED: Final = 10_000

#: Commands without a key that do no harm.
_HARMLESS: Final = frozenset(("PING", "ECHO", "TIME", "DBSIZE", "LASTSAVE", "ROLE", "LOLWUT", "RANDOMKEY", "SCAN"))


def refusal(command: Sequence[str], my_keys: bool = False) -> str | None:
    """Return why a command with placeholders is not sent; None if it is harmless.

    With `my_keys` it may write the keys of the user.
    """
    facts = Traits(command)
    name = word(command[0]) if command else ""
    if facts.timeout is not None or name.startswith(("BL", "BR", "BZ")):
        return f"{name} waits for another client: there is nothing to measure"
    if (why := _REASONS.get(name)) is not None:
        return f"{name} is not sent: {why}"
    if facts.refusal is not None:
        return f"{facts.name} is not sent: it changes its connection, which others share"
    if name == "COPY" and any(word(each) == "DB" for each in command[3:]):
        return "COPY with DB is not sent: nobody deletes the copy in the other database"
    if name in _SCRIPTS and not my_keys:
        return f"{name} is not sent: {_SCRIPT}; allow it with --my-keys if this one does no harm"
    if name == "SCAN" and any(each.isdigit() and int(each) > _MOST_SCANNED for each in command[2:]):
        return f"SCAN with a COUNT of more than {_MOST_SCANNED:,} is not sent: {_WALKS}"
    if name in _HARMLESS or facts.read_only:
        return None
    if name in KEYLESS and facts.first_key is None:
        return f"{name} is not sent: it is not among the commands without keys that do no harm"
    if name not in KEYS and facts.first_key is None and not movable(name) and "." not in name:
        hint = " (a URL begins with redis://)" if ":" in name else ""
        return f"{name} is not a command that this version knows{hint}: it might do anything"
    keys = facts.keys
    if not keys:
        return f"{name} names no key here"
    foreign = [key for key in keys if not str(key).startswith(OWN)]
    if foreign and not my_keys:
        unsure = "." in name and name not in FOREIGN_KEYS
        return (
            f"{name} {'may write' if unsure else 'writes'} '{foreign[0][:60]}', which may be yours: write {{key}} "
            "there for keys of the benchmark, or allow it with --my-keys"
        )
    return None
