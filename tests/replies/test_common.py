"""Raw replies as RESP2 and RESP3 have them, text decoded or not: the values must be the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aioresp import replies
from tests.commands.exact import exactly, spelled

#: The converter, the raw replies (RESP2 and RESP3, as str and as bytes), and the value of them all.
SAME: list[tuple[Callable[[Any], Any], tuple[Any, ...], Any]] = [
    (replies.ok, ("OK", b"OK", True), True),
    (replies.ok, (None,), False),
    (replies.boolean, (1, True), True),
    (replies.boolean, (0, False), False),
    (replies.booleans, ([1, 0], [True, False], (1, 0)), [True, False]),
    (replies.booleans, ([],), []),
    (replies.floating, ("1.5", b"1.5", 1.5), 1.5),
    (replies.floating, ("3", b"3", 3, 3.0), 3.0),
    (replies.floating, ("-0.1", b"-0.1", -0.1), -0.1),
    (replies.floating, ("inf", b"inf", float("inf"), "Infinity"), float("inf")),
    (replies.floating, ("-inf", b"-inf", float("-inf")), float("-inf")),
    (replies.floating, ("nan", b"nan", float("nan")), float("nan")),
    (replies.floating, ("1e+20", b"1e20", 1e20), 1e20),
    (replies.floating_or_none, (None,), None),
    (replies.floating_or_none, ("2", b"2", 2.0), 2.0),
    (replies.mapping, (["a", "1", "b", "2"], {"a": "1", "b": "2"}), {"a": "1", "b": "2"}),
    (replies.mapping, ([b"a", b"1"], {b"a": b"1"}), {b"a": b"1"}),
    (replies.mapping, ([], {}), {}),
    (replies.pairs, (["a", "1", "b", "2"], [["a", "1"], ["b", "2"]]), [("a", "1"), ("b", "2")]),
    (replies.pairs, ([b"a", b"1"], [[b"a", b"1"]]), [(b"a", b"1")]),
    (replies.pairs, (["a", "1", "a", "1"], [["a", "1"], ["a", "1"]]), [("a", "1"), ("a", "1")]),
    (replies.pairs, ([],), []),
    (replies.members, (["a", "b"], {"b", "a"}, ["b", "a", "b"]), {"a", "b"}),
    (replies.members, ([b"a"], {b"a"}), {b"a"}),
    (replies.members, ([], set()), set()),
    (replies.as_tuple, (["k", "v"], ("k", "v")), ("k", "v")),
    (replies.as_tuple, ([b"k", b"v"],), (b"k", b"v")),
    (replies.as_tuple, (None,), None),
    (replies.page, (["0", ["a", "b"]], [b"0", ["a", "b"]]), (0, ["a", "b"])),
    (replies.page, ([str(2**63), []], [str(2**63).encode(), []]), (2**63, [])),
    (replies.mapping_page, (["7", ["a", "1"]], [b"7", ["a", "1"]], ["7", {"a": "1"}]), (7, {"a": "1"})),
    (replies.mapping_page, (["0", []], [b"0", {}]), (0, {})),
    (replies.scan_page(replies.members), (["7", ["a", "b"]], [b"7", {"b", "a"}]), (7, {"a", "b"})),
    (replies.string, ("hash", b"hash"), "hash"),
    (replies.string, (b"", ""), ""),
    (replies.time, (["1700000000", "42"], [b"1700000000", b"42"], (1700000000, 42)), (1700000000, 42)),
]


@pytest.mark.parametrize(
    ("convert", "raw", "value"),
    [(convert, raw, value) for convert, forms, value in SAME for raw in forms],
    ids=[f"{getattr(convert, '__name__', '')} {spelled(raw)}" for convert, forms, _ in SAME for raw in forms],
)
def test_every_form_is_the_same_value(convert: Callable[[Any], Any], raw: Any, value: Any) -> None:
    exactly(convert(raw), value)


@pytest.mark.parametrize(
    "convert", [replies.as_is, replies.text, replies.integer, replies.integer_or_none, replies.array]
)
@pytest.mark.parametrize("raw", ["v", b"v", 7, None, ["a", None], 1.5, True, {"a": 1}])
def test_what_needs_no_conversion_is_passed_on(convert: Callable[[Any], Any], raw: Any) -> None:
    assert convert is replies.as_is  # which the client knows, and does not call
    assert convert(raw) is raw


@pytest.mark.parametrize(
    ("convert", "raw"),
    [
        (replies.mapping, ["a", "1", "b"]),
        (replies.pairs, ["a", "1", "b"]),
        (replies.floating, "none"),
        (replies.floating, None),
        (replies.page, ["x", []]),
    ],
)
def test_what_has_the_wrong_shape_is_an_error(convert: Callable[[Any], Any], raw: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        convert(raw)


# --- INFO ------------------------------------------------------------------------------------------------------------

INFO = (
    "# Server\r\n"
    "redis_version:7.4.0\r\n"
    "redis_git_sha1:00000000\r\n"
    "redis_build_id:12e4567\r\n"
    "os:Linux 5.10.0 x86_64\r\n"
    "process_id:4711\r\n"
    "config_file:\r\n"
    "executable:/usr/bin/redis-server\r\n"
    "\r\n"
    "# Memory\r\n"
    "used_memory_human:1.05M\r\n"
    "mem_fragmentation_ratio:1.50\r\n"
    "used_memory_dataset_perc:0.00%\r\n"
    "rss_overhead_bytes:-4096\r\n"
    "used_cpu_sys:0.001234\r\n"
    "# Replication\r\n"
    "role:master\r\n"
    "master_host:::1\r\n"
    "master_replid:0b1c7ea1a3cc1d2ab6a1\r\n"
    "master_replid2:0000000000000000000000000000000000000000\r\n"
    "second_repl_offset:-1\r\n"
    "slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0\r\n"
    "# Errorstats\r\n"
    "errorstat_ERR:count=3\r\n"
    "# Commandstats\r\n"
    "cmdstat_get:calls=2,usec=5,usec_per_call=2.50,rejected_calls=0,failed_calls=0\r\n"
    "# Keyspace\r\n"
    "db0:keys=2,expires=1,avg_ttl=0\r\n"
)

PARSED: dict[str, Any] = {
    "redis_version": "7.4.0",
    "redis_git_sha1": "00000000",
    "redis_build_id": "12e4567",
    "os": "Linux 5.10.0 x86_64",
    "process_id": 4711,
    "config_file": "",
    "executable": "/usr/bin/redis-server",
    "used_memory_human": "1.05M",
    "mem_fragmentation_ratio": 1.5,
    "used_memory_dataset_perc": "0.00%",
    "rss_overhead_bytes": -4096,
    "used_cpu_sys": 0.001234,
    "role": "master",
    "master_host": "::1",
    "master_replid": "0b1c7ea1a3cc1d2ab6a1",
    "master_replid2": "0" * 40,
    "second_repl_offset": -1,
    "slave0": {"ip": "127.0.0.1", "port": 6380, "state": "online", "offset": 14, "lag": 0},
    "errorstat_ERR": {"count": 3},
    "cmdstat_get": {"calls": 2, "usec": 5, "usec_per_call": 2.5, "rejected_calls": 0, "failed_calls": 0},
    "db0": {"keys": 2, "expires": 1, "avg_ttl": 0},
}


@pytest.mark.parametrize("raw", [INFO, INFO.encode()], ids=["str", "bytes"])
@pytest.mark.parametrize("name", PARSED)
def test_info(raw: str | bytes, name: str) -> None:
    parsed = replies.info(raw)
    assert parsed.keys() == PARSED.keys()
    exactly(parsed[name], PARSED[name])


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("12", 12),
        ("0.5", 0.5),
        ("-0.5", -0.5),
        ("007", "007"),
        ("1e5", "1e5"),
        ("1_000", "1_000"),
        ("+5", "+5"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-inf", "-inf"),
        ("0x10", "0x10"),
        ("6.2.14", "6.2.14"),
        ("", ""),
        ("-", "-"),
        (".", "."),
    ],
)
def test_only_what_is_written_like_a_number_is_one(said: str, value: object) -> None:
    exactly(replies.info(f"field:{said}\r\n"), {"field": value})


def test_info_that_is_not_utf8() -> None:
    exactly(replies.info(b"config_file:/etc/\xff.conf\r\n"), {"config_file": "/etc/\ufffd.conf"})


def test_info_of_nothing() -> None:
    exactly(replies.info(""), {})
    exactly(replies.info(b"# Empty\r\n"), {})


def test_info_keeps_every_module() -> None:
    said = replies.info("module:name=ReJSON,ver=20809\r\nmodule:name=search,ver=21005\r\n")
    assert "ReJSON" in repr(said)
    assert "search" in repr(said)


# --- Clients ---------------------------------------------------------------------------------------------------------

LINE = "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= db=0 cmd=client|list user=default lib-name=a=b"
FIELDS = {
    "id": "7",
    "addr": "127.0.0.1:50000",
    "laddr": "127.0.0.1:6379",
    "fd": "8",
    "name": "",
    "db": "0",
    "cmd": "client|list",
    "user": "default",
    "lib-name": "a=b",
}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_client_line(end: str) -> None:
    exactly(replies.client_line(LINE + end), FIELDS)
    exactly(replies.client_line((LINE + end).encode()), FIELDS)


def test_client_lines() -> None:
    exactly(replies.client_lines(""), [])
    exactly(replies.client_lines(b""), [])
    exactly(replies.client_lines(f"{LINE}\n{LINE}\n"), [FIELDS, FIELDS])
    exactly(replies.client_lines(f"{LINE}\n".encode()), [FIELDS])
