"""Diagnostics of time and memory: LATENCY, MEMORY, SLOWLOG, COMMANDLOG, HOTKEYS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from aioresp.command import AnyStr, Arguments, Key, Result, Seconds
from aioresp.commands.base import Executor, filled, listed, seconds, several
from aioresp.replies import Late, integer, integer_or_none, ok, shown

if TYPE_CHECKING:
    from aioresp.replies import diagnostics as replies
    from aioresp.replies.diagnostics import (
        HotKeys,
        LatencyEvent,
        LatencyHistogram,
        LoggedCommand,
        MemoryStats,
        SlowCommand,
    )
else:
    replies = Late("diagnostics")

#: What Valkey's command log is about.
LogType = Literal["slow", "large-request", "large-reply"]


class DiagnosticCommands(Executor[AnyStr]):
    """Commands that find slow commands and large values."""

    def commandlog_get(self, count: int, type: LogType = "slow") -> Result[list[LoggedCommand]]:
        """Return the latest commands that took long or were large, -1: all. Since Valkey 8.1; not in Redis."""
        return self.execute(("COMMANDLOG", "GET", count, type), replies.logged_commands)

    def commandlog_len(self, type: LogType = "slow") -> Result[int]:
        """Return how many entries the log has. Since Valkey 8.1; not in Redis."""
        return self.execute(("COMMANDLOG", "LEN", type), integer)

    def commandlog_reset(self, type: LogType = "slow") -> Result[bool]:
        """Delete the entries of the log. Since Valkey 8.1; not in Redis."""
        return self.execute(("COMMANDLOG", "RESET", type), ok)

    def hotkeys_get(self) -> Result[HotKeys[AnyStr] | None]:
        """Return what the session of `hotkeys_start` found, or has found so far; None if there was none. Since 8.6."""
        return self.execute(("HOTKEYS", "GET"), replies.hot_keys)

    def hotkeys_reset(self) -> Result[bool]:
        """Forget what the last session found. Raises ResponseError while one runs. Since 8.6."""
        return self.execute(("HOTKEYS", "RESET"), ok)

    def hotkeys_start(
        self,
        metrics: Iterable[Literal["CPU", "NET"]],
        count: int | None = None,
        duration: Seconds | None = None,
        sample_ratio: int | None = None,
        slots: Iterable[int] | None = None,
    ) -> Result[bool]:
        """Look for the `count` keys (10) that take most CPU time, or cause most traffic. Since 8.6.

        Ends by `hotkeys_stop`, or after `duration` seconds. Of `sample_ratio` commands one is looked at; `slots`, of a
        cluster only.
        """
        kinds = filled("HOTKEYS START", "metrics", several("HOTKEYS START", "metrics", metrics, '["CPU"]'))
        options: Arguments = () if count is None else ("COUNT", count)
        options += () if duration is None else ("DURATION", seconds(duration, "HOTKEYS START", "duration"))
        options += () if sample_ratio is None else ("SAMPLE", sample_ratio)
        if slots is not None:
            chosen = filled("HOTKEYS START", "slots", listed(slots))
            options += ("SLOTS", len(chosen), *chosen)
        return self.execute(("HOTKEYS", "START", "METRICS", len(kinds), *kinds, *options), ok)

    def hotkeys_stop(self) -> Result[bool]:
        """End the session of `hotkeys_start`, whose findings remain; return whether there was one. Since 8.6."""
        return self.execute(("HOTKEYS", "STOP"), ok)

    def latency_doctor(self) -> Result[str]:
        """Return what the server makes of the events that took long, in words."""
        return self.execute(("LATENCY", "DOCTOR"), shown)

    def latency_graph(self, event: str) -> Result[str]:
        """Return the samples of an event as a graph of characters. Raises ResponseError if there are none."""
        return self.execute(("LATENCY", "GRAPH", event), shown)

    def latency_histogram(self, *commands: str) -> Result[dict[str, LatencyHistogram]]:
        """Return how long the calls of these commands took, or of all that were called. Since 7.0."""
        return self.execute(("LATENCY", "HISTOGRAM", *commands), replies.latency_histograms)

    def latency_history(self, event: str) -> Result[list[tuple[int, int]]]:
        """Return when (Unix time in s) and for how long (ms) an event took longer than `latency-monitor-threshold`."""
        return self.execute(("LATENCY", "HISTORY", event), replies.samples)

    def latency_latest(self) -> Result[list[LatencyEvent]]:
        """Return the events that took longer than `latency-monitor-threshold`, which is off by default."""
        return self.execute(("LATENCY", "LATEST"), replies.latency_events)

    def latency_reset(self, *events: str) -> Result[int]:
        """Forget the samples of these events, or of all, and return of how many."""
        return self.execute(("LATENCY", "RESET", *events), integer)

    def memory_doctor(self) -> Result[str]:
        """Return what the server makes of its memory, in words."""
        return self.execute(("MEMORY", "DOCTOR"), shown)

    def memory_malloc_stats(self) -> Result[str]:
        """Return the statistics of the server's allocator, in words."""
        return self.execute(("MEMORY", "MALLOC-STATS"), shown)

    def memory_purge(self) -> Result[bool]:
        """Have the allocator give memory back that it does not need."""
        return self.execute(("MEMORY", "PURGE"), ok)

    def memory_stats(self) -> Result[MemoryStats]:
        """Return what takes the server's memory."""
        return self.execute(("MEMORY", "STATS"), replies.memory_stats)

    def memory_usage(self, key: Key, samples: int | None = None) -> Result[int | None]:
        """Return how many bytes a key and its value take, or None if there is no such key.

        Of large values `samples` elements are measured (5), 0 for all.
        """
        options: Arguments = () if samples is None else ("SAMPLES", samples)
        return self.execute(("MEMORY", "USAGE", key, *options), integer_or_none)

    def slowlog_get(self, num: int | None = None) -> Result[list[SlowCommand]]:
        """Return the latest commands that took longer than `slowlog-log-slower-than`: ten, or `num`, -1 for all."""
        return self.execute(("SLOWLOG", "GET", *(() if num is None else (num,))), replies.slow_commands)

    def slowlog_len(self) -> Result[int]:
        """Return how many entries the slow log has."""
        return self.execute(("SLOWLOG", "LEN"), integer)

    def slowlog_reset(self) -> Result[bool]:
        """Delete the entries of the slow log."""
        return self.execute(("SLOWLOG", "RESET"), ok)
