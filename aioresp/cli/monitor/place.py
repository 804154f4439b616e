"""One server that is watched: what it is asked, and the state between two questions.

Owns the previous reading, the counters of commands, and the account of the monitor's own share. Never decides when to
ask.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from aioresp import Client
from aioresp.cli.monitor.own import NAME, Account, since
from aioresp.cli.monitor.rates import Rates, between, break_between
from aioresp.cli.monitor.reading import Reading, reading, without
from aioresp.cli.monitor.rows import ClientRow, CommandRow, Listing, SlowRow
from aioresp.cli.monitor.source import NodeMoment
from aioresp.cli.monitor.words import ailment, is_refusal, lacking, printable
from aioresp.errors import RedisError, UnknownCommandError
from aioresp.replies import integer
from aioresp.replies.clients import ClientInfo, client_info, client_infos
from aioresp.replies.diagnostics import LoggedCommand, SlowCommand, latency_events, logged_commands, slow_commands
from aioresp.replies.server import Info, info

T = TypeVar("T")

#: Entries of the slow log that are read.
SLOW: Final = 64

_COMMAND: Final = "cmdstat_"
_LATENCY: Final = "latency_percentiles_usec_"

#: Characters of a slow command that are shown.
_SHOWN: Final = 400


@dataclass(frozen=True, slots=True)
class _Calls:
    """Counters of one command."""

    calls: int = 0
    microseconds: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Counted:
    """Counters of all commands at one moment."""

    clock: float
    commands: dict[str, _Calls]
    own: Counter[str]
    own_failed: Counter[str]


class Place:
    """A server, and what was last seen of it."""

    def __init__(self, node: str, client: Client[Any]) -> None:
        self.node = node
        self.client = client
        self.account = Account()
        #: The monitor's connection, by CLIENT INFO; None before it was asked, and where it may not be.
        self.own: ClientInfo | None = None
        self.last = NodeMoment(node, 0.0, None, None)
        #: The last reading, the monitor's own share included; None before the first.
        self._raw: Reading | None = None
        #: The reading from which the next rates count; None before the first.
        self._base: Reading | None = None
        #: Connections that the monitor had made at the last reading.
        self._made = 0
        #: Connections that it had made when it last asked for its own; -1 before the first time.
        self._asked_for_own = -1
        #: Counters of the commands at the last listing; None before it, and after the server has begun to count again.
        self._counted: _Counted | None = None
        #: Whether the server has COMMANDLOG; None before the first reading.
        self._has_commandlog: bool | None = None

    # --- INFO --------------------------------------------------------------------------------------------------------

    async def moment(self) -> NodeMoment:
        """Read INFO. Never raises because of the server."""
        try:
            found: Info = await self._ask(info, "INFO")
            at, clock = time.time(), time.monotonic()
            raw = reading(found, at, clock)
        except RedisError as error:
            self.last = self._failed(error)
            return self.last
        remark = ""
        if self._raw is not None and (remark := break_between(self._raw, raw)):
            self.account.zero(0 if "RESETSTAT" in remark else self.account.made - self._made)
            self._counted = None
        self._made = self.account.made
        now = without(self.account.share(), raw)
        rates: Rates | None = None
        before = self.last
        base = None if before.trouble or remark else self._base
        if base is not None and (rates := between(base, now)) is None:
            rates = before.rates  # two readings at nearly the same time: the next one counts from the first
        else:
            self._base = now
        self._raw = raw
        trouble = "loads its data" if raw.identity.loading else ""
        began = (before.since if before.trouble else at) if trouble else None
        self.last = NodeMoment(self.node, at, now, rates, trouble, began, remark=remark)
        await self._find_own()
        return self.last

    def _failed(self, error: RedisError) -> NodeMoment:
        before, at = self.last, time.time()
        if is_refusal(error):
            return replace(before, at=at, rates=None, lacks=lacking(error, "info"), trouble="", since=None, remark="")
        began = before.since if before.trouble and before.since else at
        return replace(before, at=at, rates=None, trouble=ailment(error), since=began, lacks="", remark="")

    async def _find_own(self) -> None:
        """Ask once for each connection which one the monitor's is."""
        if self._asked_for_own == self.account.made:
            return
        self._asked_for_own = self.account.made
        try:
            self.own = await self._ask(client_info, "CLIENT", "INFO")
        except RedisError:
            self.own = None

    async def _ask(self, reply: Callable[[Any], T], *words: str | int) -> T:
        """Send a command, and note it and the size of its reply as the monitor's own."""
        size = 0

        def convert(raw: Any) -> T:
            nonlocal size
            size = len(raw) if isinstance(raw, (bytes, str)) else 0
            return reply(raw)

        name = "|".join(str(word) for word in words[: 2 if words[0] in _CONTAINERS else 1]).lower()
        try:
            with self.account.asking(name):
                return await self.client.execute(words, convert)
        finally:
            self.account.note_size(size)

    # --- Clients -----------------------------------------------------------------------------------------------------

    async def clients(self) -> Listing[ClientRow]:
        """List the connections, the monitor's own included."""
        try:
            found = await self._ask(client_infos, "CLIENT", "LIST")
        except RedisError as error:
            return Listing(time.time(), (), lacking(error, "client|list"))
        return Listing(time.time(), tuple(self._client_row(each) for each in found))

    def _client_row(self, found: ClientInfo) -> ClientRow:
        is_listening = "O" in found.flags and self.account.listening > 0
        own = found.name == NAME and (self.own is None or found.id == self.own.id or is_listening)
        return ClientRow(
            node=self.node,
            id=found.id,
            address=printable(found.addr),
            name=printable(found.name),
            user=found.user or "",
            library=printable(f"{found.lib_name or ''} {found.lib_ver or ''}".strip()),
            age=found.age,
            idle=found.idle,
            flags=found.flags,
            database=found.db,
            command="" if found.cmd == "NULL" else found.cmd.replace("|", " "),
            subscriptions=max(found.sub, 0) + max(found.psub, 0) + max(found.ssub or 0, 0),
            output=max(found.omem, 0),
            memory=-1 if found.tot_mem is None else found.tot_mem,
            own=own,
        )

    async def kill(self, row: ClientRow) -> str:
        """End a connection; return what happened, in a sentence."""
        who = f"{row.name} ({row.address})" if row.name else row.address
        if row.own:
            return "This is the monitor's own connection: it stays."
        try:
            ended = await self._ask(integer, "CLIENT", "KILL", "ID", row.id, "SKIPME", "YES")
        except RedisError as error:
            return lacking(error, "client|kill")
        return f"The connection of {who} was closed." if ended else f"The connection of {who} is gone already."

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def commands(self) -> Listing[CommandRow]:
        """List the commands with what they did since the previous call."""
        percentiles = self._raw is not None and self._raw.identity.version.split(".")[0] not in ("", "5", "6")
        sections = ("commandstats", "latencystats") if percentiles else ("commandstats",)
        own, own_failed = self.account.calls.copy(), self.account.failed.copy()
        try:
            found: Info = await self._ask(info, "INFO", *sections)
        except RedisError as error:
            return Listing(time.time(), (), lacking(error, "info"))
        now = _Counted(time.monotonic(), _calls(found), own, own_failed)
        before, self._counted = self._counted, now
        if before is not None and any(
            each.calls > now.commands.get(name, _Calls()).calls for name, each in before.commands.items()
        ):
            before = None
        note = "" if before else "Since the start of the server; figures a second follow with the next look."
        return Listing(time.time(), tuple(self._command_rows(found, before, now)), note=note)

    def _command_rows(self, found: Info, before: _Counted | None, now: _Counted) -> list[CommandRow]:
        seconds = max(now.clock - before.clock, 0.001) if before else 1.0
        passed: dict[str, _Calls] = {}
        for name, each in now.commands.items():
            old = before.commands.get(name, _Calls()) if before else _Calls()
            calls = each.calls - old.calls
            own = min(since(before.own if before else {}, now.own, name), calls)
            spent = each.microseconds - old.microseconds
            failed = each.failed - old.failed - since(before.own_failed if before else {}, now.own_failed, name)
            passed[name] = _Calls(calls - own, spent - spent * own // calls if calls else spent, max(failed, 0))
        whole = sum(each.microseconds for each in passed.values()) or 1
        rows = []
        for name, each in passed.items():
            every = now.commands[name]
            all_failed = max(every.failed - since({}, now.own_failed, name), 0)
            if not every.calls - since({}, now.own, name) > 0 and not all_failed:
                continue  # the monitor alone has called it
            percentiles = found.get(_LATENCY + name)
            known = percentiles if isinstance(percentiles, Info) else Info()
            rows.append(
                CommandRow(
                    node=self.node,
                    name=name.replace("|", " ").upper(),
                    calls=each.calls / seconds if before else 0.0,
                    microseconds=each.microseconds / each.calls if each.calls > 0 else 0.0,
                    share=each.microseconds / whole,
                    failed=each.failed / seconds if before else 0.0,
                    p50=known.get("p50"),
                    p99=known.get("p99"),
                    all_calls=every.calls,
                    all_microseconds=every.microseconds,
                    all_failed=all_failed,
                )
            )
        return rows

    # --- Slow commands -----------------------------------------------------------------------------------------------

    async def slow(self) -> Listing[SlowRow]:
        """List slow commands, large requests and replies, and events of the latency monitor; the latest first."""
        rows: list[SlowRow] = []
        lacks: list[str] = []
        for ask in (self._logs, self._events):
            try:
                rows += await ask()
            except RedisError as error:
                lacks.append(lacking(error, "latency|latest" if ask == self._events else self._log_command()))
        others = [row for row in rows if row.client != NAME]
        return Listing(time.time(), tuple(sorted(others, key=lambda row: -row.at)), " ".join(lacks))

    def _log_command(self) -> str:
        return "commandlog|get" if self._has_commandlog else "slowlog|get"

    async def _logs(self) -> list[SlowRow]:
        if self._raw is not None and self._has_commandlog is None:
            self._has_commandlog = self._raw.identity.flavour == "valkey"
        if self._has_commandlog:
            try:
                return [row for kind in _LOGS for row in await self._log(kind)]
            except UnknownCommandError:  # Valkey before 8.1
                self._has_commandlog = False
        found = await self._ask(slow_commands, "SLOWLOG", "GET", SLOW)
        return [self._slow_row(each, "slow", each.duration) for each in found]

    async def _log(self, kind: str) -> list[SlowRow]:
        count = SLOW if kind == "slow" else SLOW // 4
        found = await self._ask(logged_commands, "COMMANDLOG", "GET", count, kind)
        return [self._slow_row(each, kind, each.amount) for each in found]

    def _slow_row(self, entry: SlowCommand | LoggedCommand, kind: str, amount: int) -> SlowRow:
        return SlowRow(
            node=self.node,
            id=entry.id,
            at=float(entry.start_time),
            milliseconds=amount / 1000 if kind == "slow" else 0.0,
            command=spelled(entry.command),
            client=printable(entry.client_name or entry.client_address),
            kind=kind,
            size=0 if kind == "slow" else amount,
        )

    async def _events(self) -> list[SlowRow]:
        return [
            SlowRow(self.node, -1, float(each.time), float(each.latest), each.event, "", "event")
            for each in await self._ask(latency_events, "LATENCY", "LATEST")
        ]


_CONTAINERS: Final = frozenset(("CLIENT", "SLOWLOG", "LATENCY", "COMMANDLOG", "MEMORY", "OBJECT"))

#: Logs of Valkey's COMMANDLOG.
_LOGS: Final = ("slow", "large-request", "large-reply")


def _calls(found: Info) -> dict[str, _Calls]:
    return {
        name.removeprefix(_COMMAND): _Calls(
            each.get("calls", 0), each.get("usec", 0), each.get("failed_calls", 0) + each.get("rejected_calls", 0)
        )
        for name, each in found.items()
        if name.startswith(_COMMAND) and isinstance(each, Info)
    }


def spelled(words: list[str] | tuple[str, ...]) -> str:
    """Return a command on one line, shortened."""
    line = " ".join(word if word and word.isprintable() and " " not in word else ascii(word) for word in words)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
