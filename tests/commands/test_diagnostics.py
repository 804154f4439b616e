"""What takes time and memory: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.diagnostics import (
    DatabaseOverhead,
    HotKeys,
    LatencyEvent,
    LatencyHistogram,
    LoggedCommand,
    MemoryStats,
    SlowCommand,
)
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.commandlog_get(5), ("COMMANDLOG", "GET", 5, "slow")),
    (lambda r: r.commandlog_get(count=-1, type="large-reply"), ("COMMANDLOG", "GET", -1, "large-reply")),
    (lambda r: r.commandlog_len(), ("COMMANDLOG", "LEN", "slow")),
    (lambda r: r.commandlog_len(type="large-request"), ("COMMANDLOG", "LEN", "large-request")),
    (lambda r: r.commandlog_reset(), ("COMMANDLOG", "RESET", "slow")),
    (lambda r: r.commandlog_reset(type="large-reply"), ("COMMANDLOG", "RESET", "large-reply")),
    (lambda r: r.commandlog_reset("large-request"), ("COMMANDLOG", "RESET", "large-request")),
    (lambda r: r.commandlog_len("large-reply"), ("COMMANDLOG", "LEN", "large-reply")),
    (lambda r: r.commandlog_get(1, "large-request"), ("COMMANDLOG", "GET", 1, "large-request")),
    (lambda r: r.hotkeys_get(), ("HOTKEYS", "GET")),
    (lambda r: r.hotkeys_reset(), ("HOTKEYS", "RESET")),
    (lambda r: r.hotkeys_start(["CPU"]), ("HOTKEYS", "START", "METRICS", 1, "CPU")),
    (
        lambda r: r.hotkeys_start(
            metrics=("CPU", "NET"), count=5, duration=timedelta(minutes=1), sample_ratio=10, slots=[1, 7]
        ),
        (
            *("HOTKEYS", "START", "METRICS", 2, "CPU", "NET", "COUNT", 5, "DURATION", 60, "SAMPLE", 10),
            *("SLOTS", 2, 1, 7),
        ),
    ),
    (lambda r: r.hotkeys_stop(), ("HOTKEYS", "STOP")),
    (lambda r: r.latency_doctor(), ("LATENCY", "DOCTOR")),
    (lambda r: r.latency_graph("command"), ("LATENCY", "GRAPH", "command")),
    (lambda r: r.latency_histogram(), ("LATENCY", "HISTOGRAM")),
    (lambda r: r.latency_histogram("get", "set"), ("LATENCY", "HISTOGRAM", "get", "set")),
    (lambda r: r.latency_history("command"), ("LATENCY", "HISTORY", "command")),
    (lambda r: r.latency_latest(), ("LATENCY", "LATEST")),
    (lambda r: r.latency_reset(), ("LATENCY", "RESET")),
    (lambda r: r.latency_reset("command", "fork"), ("LATENCY", "RESET", "command", "fork")),
    (lambda r: r.memory_doctor(), ("MEMORY", "DOCTOR")),
    (lambda r: r.memory_malloc_stats(), ("MEMORY", "MALLOC-STATS")),
    (lambda r: r.memory_purge(), ("MEMORY", "PURGE")),
    (lambda r: r.memory_stats(), ("MEMORY", "STATS")),
    (lambda r: r.memory_usage("k"), ("MEMORY", "USAGE", "k")),
    (lambda r: r.memory_usage(b"k", samples=0), ("MEMORY", "USAGE", b"k", "SAMPLES", 0)),
    (lambda r: r.slowlog_get(), ("SLOWLOG", "GET")),
    (lambda r: r.slowlog_get(num=-1), ("SLOWLOG", "GET", -1)),
    (lambda r: r.slowlog_len(), ("SLOWLOG", "LEN")),
    (lambda r: r.slowlog_reset(), ("SLOWLOG", "RESET")),
]

REFUSED: Refused = [
    (lambda r: r.hotkeys_start([]), ValueError, "HOTKEYS START: metrics is empty"),
    (lambda r: r.hotkeys_start(["CPU"], slots=[]), ValueError, "HOTKEYS START: slots is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_slowlog(own: Client[Any]) -> None:
    await own.config_set("slowlog-log-slower-than", 0)
    exactly(await own.slowlog_reset(), True)
    async with own.connection() as lease:
        await lease.client_setname("me")
        await lease.set("ü", b"\xff\n")
        await lease.set("k", "ü" * 500)  # the server cuts within a character
        address = (await lease.client_info()).addr
    await own.config_set("slowlog-log-slower-than", 10_000)
    exactly(len(await own.slowlog_get(1)), 1)
    entries = {tuple(entry.command[:2]): entry for entry in await own.slowlog_get(-1)}
    entry = entries["SET", "ü"]
    exactly(entry.replace(id=0, start_time=0, duration=0, argc=None), slow(["SET", "ü", "\\xff\n"], address))
    assert entry.start_time > 1_600_000_000
    exactly({type(number) for number in (entry.id, entry.start_time, entry.duration)}, {int})
    assert entries["SET", "k"].command[2].endswith("more bytes)")
    assert await own.slowlog_len() > 3
    exactly(await own.slowlog_reset(), True)
    exactly(await own.slowlog_len(), 0)
    exactly(await own.slowlog_get(), [])


def slow(command: list[str], address: str) -> SlowCommand:
    return SlowCommand(0, 0, 0, command, address, "me", None)


async def test_commandlog(own: Client[Any], since: Since) -> None:
    since(valkey=(8, 1))
    await own.config_set({"commandlog-request-larger-than": 100, "commandlog-reply-larger-than": 100})
    exactly(await own.commandlog_reset("large-request"), True)
    await own.set("k", b"\xff" * 1000)
    await own.with_options(decode_responses=False).get("k")
    exactly(await own.commandlog_len("large-request"), 1)
    (entry,) = await own.commandlog_get(-1, "large-request")
    exactly((type(entry), entry.command[:2], entry.client_name), (LoggedCommand, ["SET", "k"], ""))
    assert entry.amount > 1000
    assert ["GET", "k"] in [entry.command for entry in await own.commandlog_get(10, "large-reply")]
    exactly(await own.commandlog_get(10), [])
    exactly(await own.commandlog_reset("large-reply"), True)
    exactly(await own.commandlog_len("large-reply"), 0)


#: Turns of a Lua loop that take some ten milliseconds.
BUSY = 5_000_000


async def test_latency(own: Client[Any], own_server: Server) -> None:
    await own.config_set("latency-monitor-threshold", 4)  # a busy machine makes any command take a millisecond
    await own.latency_reset()
    exactly(await own.latency_latest(), [])
    exactly(await own.latency_history("command"), [])
    with pytest.raises(ResponseError, match="No samples"):
        await own.latency_graph("command")
    await own.eval(f"for n = 1, {BUSY} do end", 0)
    (event,) = [event for event in await own.latency_latest() if event.event == "command"]
    assert 5 <= event.latest <= event.max
    assert event.time > 1_600_000_000
    if own_server.flavour == "valkey" and own_server.version >= (8, 1):
        exactly((event.total, event.count), (event.latest, 1))
    else:
        exactly(event, LatencyEvent("command", event.time, event.latest, event.max, None, None))
    exactly(await own.latency_history("command"), [(event.time, event.latest)])
    assert "command" in await own.latency_graph("command")
    assert type(await own.latency_doctor()) is str
    exactly(await own.latency_reset("command", "fork"), 1)
    exactly(await own.latency_reset(), 0)
    await own.config_set("latency-monitor-threshold", 0)


async def test_latency_histogram(own: Client[Any], since: Since) -> None:
    since(7, 0)
    await own.config_resetstat()
    await own.set("k", 1)
    await own.set("k", 2)
    found = await own.latency_histogram("set", "get", "nonsense")
    exactly(list(found), ["set"])
    exactly((type(found["set"]), found["set"].calls), (LatencyHistogram, 2))
    exactly(max(found["set"].histogram_usec.values()), 2)
    exactly({type(number) for pair in found["set"].histogram_usec.items() for number in pair}, {int})
    assert set(await own.latency_histogram()) >= {"set", "config|resetstat"}


async def test_memory_stats(own: Client[Any], own_server: Server) -> None:
    await own.set("k", "v", ex=100)
    said = await own.memory_stats()
    exactly((type(said), said.keys_count), (MemoryStats, 1))
    wanted = {name: kind.split()[0] for name, kind in MemoryStats.__annotations__.items() if "[" not in kind}
    values = {name: item for name, item in said.asdict().items() if name in wanted and item is not None}
    exactly({name: type(item).__name__ for name, item in values.items()}, {name: wanted[name] for name in values})
    required = {name for name, kind in MemoryStats.__annotations__.items() if "None" not in kind}
    exactly(sorted(name for name in required if getattr(said, name) is None), [])
    exactly(list(said.databases), [0])
    exactly(type(said.databases[0]), DatabaseOverhead)
    assert said.databases[0].overhead_hashtable_main > 0
    exactly({type(name) for name in said.extra} - {str}, set())
    exactly(type(said.databases[0].overhead_hashtable_slot_to_keys), int if own_server.version[0] == 7 else type(None))


async def test_memory_usage(r: Client[Any], prefix: str) -> None:
    key = f"{prefix}ü"
    exactly(await r.memory_usage(key), None)
    await r.rpush(key, *range(100))
    few, all_of_them = await r.memory_usage(key), await r.memory_usage(key, samples=0)
    assert few is not None
    assert all_of_them is not None
    assert min(few, all_of_them) > 100


async def test_memory_in_words(own: Client[Any]) -> None:
    exactly(await own.memory_purge(), True)
    assert "Sam" in await own.memory_doctor()
    assert type(await own.memory_malloc_stats()) is str


async def test_hotkeys(own: Client[Any], text: Text, since: Since) -> None:
    since(8, 6)
    exactly(await own.hotkeys_get(), None)
    exactly(await own.hotkeys_stop(), False)
    exactly(await own.hotkeys_start(["CPU", "NET"], count=5, duration=60), True)
    with pytest.raises(ResponseError, match="in progress"):
        await own.hotkeys_reset()
    await asyncio.gather(*(own.get("k") for _ in range(10)))
    found = await own.hotkeys_get()
    assert isinstance(found, HotKeys)
    exactly((found.tracking_active, found.sample_ratio), (True, 1))
    exactly(found.selected_slots, [(0, 16383)])
    assert found.by_cpu_time_us is not None
    assert found.by_net_bytes is not None
    exactly([key for key, _ in found.by_net_bytes], text(["k"]))
    exactly(await own.hotkeys_stop(), True)
    exactly(await own.hotkeys_reset(), True)
