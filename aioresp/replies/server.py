"""Replies about the server: INFO, its modules, its backups."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from aioresp.command import Converter
from aioresp.record import Record
from aioresp.replies import each, integer, lines, record, shown, string

T = TypeVar("T")


class Module(Record):
    """A module; `path` and `args` are of 7.0."""

    name: str
    ver: int
    path: str | None
    args: list[str] | None


class BackupStatus(Record):
    """How far a backup is: idle, pending, snapshotting, incrementing, sealed or failed.

    `error` is empty unless it failed. Times are Unix times in seconds, 0 for what has not happened.
    """

    state: str
    error: str
    start_time: int
    end_time: int


class Info(dict[str, Any]):
    """Reply of INFO, by name: a dict of ints, floats and str, and of such dicts for lines with several parts.

    The server decides the type of each field: the methods assert one for type checkers. They raise KeyError for what
    the server does not say, and TypeError for what is of another type.
    """

    def integer(self, name: str) -> int:
        """Return an int, as in `info.integer("used_memory")`."""
        return self._of(name, int)

    def number(self, name: str) -> float:
        """Return a float, or an int as float."""
        value = self[name]
        return float(value) if isinstance(value, int) else self._of(name, float)

    def text(self, name: str) -> str:
        """Return a str, as in `info.text("role")`."""
        return self._of(name, str)

    def parts(self, name: str) -> Info:
        """Return the parts of a line that has several, as in `info.parts("db0").integer("keys")`."""
        return self._of(name, Info)

    def _of(self, name: str, kind: type[T]) -> T:
        value = self[name]
        if not isinstance(value, kind):
            raise TypeError(f"INFO: {name} is {type(value).__name__}, not {kind.__name__}")
        return value


def info(value: Any) -> Info:
    """Return INFO: numbers as int or float, `a=1,b=2` lines as dicts, everything else as str.

    The lines of the modules, which all have one name, become a list under `modules`.
    """
    found = Info()
    for line in lines(value):
        if line.startswith("#"):
            continue
        name, colon, said = line.partition(":")
        if name.startswith(_NAMED_BY_USERS):
            # The name of a command may end with a colon, as in `cmdstat_host::calls=1`.
            start, equals, rest = line.partition("=")
            name, colon, first = start.rpartition(":")
            said = f"{first}{equals}{rest}"
        if name == "module":
            found.setdefault("modules", []).append(_info_value(said))
        elif colon:
            found[name] = said if name in _TEXT else _ratio(said) if name.endswith("_ratio") else _info_value(said)
    return found


# Lines whose name ends with that of a command, or of an error.
_NAMED_BY_USERS: Final = ("cmdstat_", "errorstat_", "latency_percentiles_")

# Fields that may look like a number, or like a line of pairs, and are text.
_TEXT: Final = frozenset(
    (
        *("availability_zone", "config_file", "executable", "gcc_version", "master_host", "master_replid"),
        *("master_replid2", "os", "redis_build_id", "redis_git_sha1", "redis_version", "run_id", "valkey_version"),
    )
)


# The same for the parts of a line, such as the name of a listener or of a primary that a sentinel watches.
_TEXT_PARTS: Final = frozenset(("address", "bind", "ip", "name", "state", "status", "type"))


def _ratio(said: str) -> int | float | str | Info:
    """Return a ratio, which is NaN or infinite if it is one to nothing."""
    return float(said) if said.lstrip("-") in ("nan", "inf") else _info_value(said)


def _info_value(said: str) -> int | float | str | Info:
    if "=" not in said or not all("=" in part for part in said.split(",")):
        return _number(said)
    found = Info()
    for part in said.split(","):
        # Redis 2 counts allocations by their size, the large ones as `>=256=7`.
        sign = ">=" if part.startswith(">=") else ""
        name, _, text = part[len(sign) :].partition("=")
        name = sign + name
        item = text if name in _TEXT_PARTS else _number(text)
        if name in found:  # a listener says `bind` for each address
            before = found[name]
            found[name] = [*(before if isinstance(before, list) else [before]), item]
        else:
            found[name] = item
    return found


# Only what is written like a number is one: a hash may be all zeros or look like 12e4567, a version like 7.0.1.
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?"


def _number(said: str) -> int | float | str:
    match = re.fullmatch(_NUMBER, said)
    if match is None:
        return said
    return float(said) if match[1] else int(said)


modules: Converter[list[Module]] = each(record(Module, name=shown, ver=integer, path=shown, args=each(shown)))
backup_status: Converter[BackupStatus] = record(BackupStatus, state=string, error=shown, start_time=int, end_time=int)
