"""Replies about ACL users: their rules, and the commands that were denied."""

from __future__ import annotations

from typing import Any, Final

from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import each, floating, mapping, parts, record, shown, some_text, string, words
from aioresp.replies.clients import ClientInfo, client_info
from aioresp.typed import Generic


class Selector(Record, Generic[AnyStr]):
    """Rules of which a command must pass all: commands, keys ("~a*", "%R~b*") and channels ("&news").

    `databases` is of Valkey 9.1: "alldbs", or numbers, as in "db=0,1".
    """

    commands: str
    keys: list[AnyStr]
    channels: list[AnyStr]
    databases: str | None


class User(Record, Generic[AnyStr]):
    """A user: its own rules, and selectors, of which one is enough (7.0). Passwords are SHA-256 digests.

    `flags` are words such as "nopass"; "on" and "off" are told by `enabled` too. That a user may touch all keys, all
    channels or all commands is told by the rules, and by no flag.
    """

    enabled: bool
    flags: set[str]
    passwords: list[str]
    commands: str
    keys: list[AnyStr]
    channels: list[AnyStr]
    databases: str | None
    selectors: list[Selector[AnyStr]]


class Denial(Record):
    """An entry of the ACL log: the refused command, the number of refusals, and the last client.

    `reason` is "command", "key", "channel", "database" or "auth", `context` "toplevel", "multi", "lua" or "module",
    `object` the command, key or channel. The fields that may be None are of 7.2; their times are Unix times in ms.
    """

    count: int
    reason: str
    context: str
    object: str
    username: str
    age_seconds: float
    client_info: ClientInfo
    entry_id: int | None
    timestamp_created: int | None
    timestamp_last_updated: int | None


# Redis 6 has flags for what its rules say too.
_TOLD_BY_RULES: Final = {"allkeys", "allchannels", "allcommands"}


def user(value: Any) -> User[Any] | None:
    """Return a user, or None for nil."""
    if value is None:
        return None
    said = {string(name): item for name, item in mapping(value).items()}
    flags = words(said["flags"])
    return User(
        "on" in flags,
        flags - _TOLD_BY_RULES,
        [string(password) for password in parts(said["passwords"])],
        **_rules(said),
        selectors=[selector(item) for item in parts(said.get("selectors", ()))],
    )


def selector(value: Any) -> Selector[Any]:
    """Return the rules of a selector."""
    return Selector(**_rules({string(name): item for name, item in mapping(value).items()}))


def _rules(said: dict[str, Any]) -> dict[str, Any]:
    databases = said.get("databases")
    return {
        "commands": string(said["commands"]),
        "keys": _patterns(said["keys"], "~"),
        "channels": _patterns(said.get("channels", []), "&"),
        "databases": None if databases is None else string(databases),
    }


def _patterns(value: Any, sign: str) -> list[Any]:
    """Return patterns as rules; Redis 6 has a list of them without their signs."""
    if isinstance(value, list):
        return [sign.encode() + pattern if isinstance(pattern, bytes) else sign + pattern for pattern in value]
    text = some_text(value)
    rules: list[Any] = text.split(" " if isinstance(text, str) else b" ")
    return [rule for rule in rules if rule]


denials: Converter[list[Denial]] = each(
    record(
        Denial,
        reason=string,
        context=string,
        object=shown,
        username=shown,
        age_seconds=floating,
        client_info=client_info,
    )
)
