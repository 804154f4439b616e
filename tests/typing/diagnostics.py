"""The types of the commands on what takes time and memory. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.diagnostics import (
    HotKeys,
    LatencyEvent,
    LatencyHistogram,
    LoggedCommand,
    MemoryStats,
    SlowCommand,
)


async def both(r: Client[str], b: Client[bytes]) -> None:
    assert_type(await r.commandlog_get(5, "large-reply"), list[LoggedCommand])
    assert_type(await r.commandlog_len(), int)
    assert_type(await r.commandlog_reset(), bool)
    assert_type(await r.hotkeys_get(), HotKeys[str] | None)
    assert_type(await b.hotkeys_get(), HotKeys[bytes] | None)
    assert_type(await r.hotkeys_reset(), bool)
    assert_type(await r.hotkeys_start(["CPU"]), bool)
    assert_type(await r.hotkeys_stop(), bool)
    assert_type(await r.latency_doctor(), str)
    assert_type(await r.latency_graph("command"), str)
    assert_type(await r.latency_histogram(), dict[str, LatencyHistogram])
    assert_type(await r.latency_history("command"), list[tuple[int, int]])
    assert_type(await r.latency_latest(), list[LatencyEvent])
    assert_type(await r.latency_reset(), int)
    assert_type(await r.memory_doctor(), str)
    assert_type(await r.memory_malloc_stats(), str)
    assert_type(await r.memory_purge(), bool)
    assert_type(await r.memory_stats(), MemoryStats)
    assert_type(await r.memory_usage("k"), int | None)
    assert_type(await r.slowlog_get(), list[SlowCommand])
    assert_type(await b.slowlog_get(), list[SlowCommand])
    assert_type((await r.slowlog_get())[0].command, list[str])
    assert_type((await b.slowlog_get())[0].command, list[str])
    assert_type(await r.slowlog_len(), int)
    assert_type(await r.slowlog_reset(), bool)
