"""Replies about time and memory that no server of the matrix gives: what they look like is documented."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp.replies.diagnostics import HotKeys, MemoryStats, SlowCommand, hot_keys, memory_stats, slow_commands
from tests.commands.exact import as_bytes, exactly

ALL: list[Any] = [
    *("tracking-active", 1, "sample-ratio", 1, "selected-slots", [[0, 16383]], "all-commands-all-slots-us", 220),
    *("net-bytes-all-commands-all-slots", 200, "collection-start-time-unix-ms", 1769420604522),
    *("collection-duration-ms", 6408, "total-cpu-time-user-ms", 3, "total-cpu-time-sys-ms", 11),
    *("by-cpu-time-us", ["x", 104, "y", 98]),
]
SOME: list[Any] = [
    *("tracking-active", 0, "sample-ratio", 10, "selected-slots", [[5], [7, 9]]),
    *("sampled-commands-selected-slots-us", 1, "all-commands-selected-slots-us", 2, "all-commands-all-slots-us", 3),
    *("net-bytes-sampled-commands-selected-slots", 4, "net-bytes-all-commands-selected-slots", 5),
    *("net-bytes-all-commands-all-slots", 6, "collection-start-time-unix-ms", 7, "collection-duration-ms", 8),
    *("total-net-bytes", 9, "by-net-bytes", []),
]


def as_map(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize("shape", [list, as_map], ids=["resp2", "resp3"])
def test_hot_keys(shape: Any) -> None:
    wanted = HotKeys(
        tracking_active=True,
        sample_ratio=1,
        selected_slots=[(0, 16383)],
        sampled_commands_selected_slots_us=None,
        all_commands_selected_slots_us=None,
        all_commands_all_slots_us=220,
        net_bytes_sampled_commands_selected_slots=None,
        net_bytes_all_commands_selected_slots=None,
        net_bytes_all_commands_all_slots=200,
        collection_start_time_unix_ms=1769420604522,
        collection_duration_ms=6408,
        total_cpu_time_user_ms=3,
        total_cpu_time_sys_ms=11,
        total_net_bytes=None,
        by_cpu_time_us=[("x", 104), ("y", 98)],
        by_net_bytes=None,
    )
    exactly(hot_keys([shape(ALL)]), wanted)
    raw = hot_keys([as_bytes(shape(ALL))])
    assert raw is not None
    exactly(raw.by_cpu_time_us, [(b"x", 104), (b"y", 98)])
    some = hot_keys([shape(SOME)])
    assert some is not None
    exactly((some.tracking_active, some.selected_slots), (False, [(5, 5), (7, 9)]))
    numbers = {name: item for name, item in some.asdict().items() if name.endswith(("_us", "_slots", "_ms", "_bytes"))}
    exactly([item for item in numbers.values() if type(item) is int], [1, 2, 3, 4, 5, 6, 7, 8, 9])
    exactly((some.by_cpu_time_us, some.by_net_bytes), (None, []))
    exactly(hot_keys(None), None)


def test_the_slow_log_says_how_many_arguments_there_were() -> None:
    raw = [[1, 1795235516, 6, [b"SET", b"\xff"], b"127.0.0.1:36940", b"me", 40], [0, 1795235516, 1, [b"GET"], b"", b""]]
    first = SlowCommand(1, 1795235516, 6, ["SET", "\\xff"], "127.0.0.1:36940", "me", 40)
    exactly(slow_commands(raw), [first, SlowCommand(0, 1795235516, 1, ["GET"], "", "", None)])


def test_memory_stats_keeps_what_is_new() -> None:
    known: dict[Any, Any] = {name: 0 for name, kind in MemoryStats.__annotations__.items() if kind in ("int", "float")}
    known |= {"keys.count": 1, "fragmentation": b"2"}
    said = memory_stats({**known, "new.ratio": "1.5", b"other.bytes": 7, "db.dict": 3, "a": b"b"})
    exactly((said.keys_count, said.fragmentation, said.databases), (1, 2.0, {}))
    exactly(said.extra, {"new.ratio": 1.5, "other.bytes": 7, "db.dict": 3, "a": "b"})
