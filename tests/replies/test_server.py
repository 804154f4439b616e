"""Replies about the server, from any of them, as str and as bytes."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp.replies.server import BackupStatus, Info, Module, backup_status, info, modules
from tests.commands.exact import as_bytes, exactly

INFO = (
    "# Server\r\n"
    "redis_version:7.4.0\r\n"
    "redis_git_sha1:40305114\r\n"
    "redis_build_id:12e4567\r\n"
    "os:Linux 5.10.0 x86_64\r\n"
    "run_id:0123\r\n"
    "gcc_version:12.2\r\n"
    "process_id:4711\r\n"
    "config_file:\r\n"
    "executable:/opt/a=b/redis-server\r\n"
    "listener0:name=tcp,bind=127.0.0.1,bind=::1,bind=10,port=6379\r\n"
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
    "redis_git_sha1": "40305114",
    "redis_build_id": "12e4567",
    "os": "Linux 5.10.0 x86_64",
    "run_id": "0123",
    "gcc_version": "12.2",
    "process_id": 4711,
    "config_file": "",
    "executable": "/opt/a=b/redis-server",
    "listener0": Info({"name": "tcp", "bind": ["127.0.0.1", "::1", "10"], "port": 6379}),
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
    "slave0": Info({"ip": "127.0.0.1", "port": 6380, "state": "online", "offset": 14, "lag": 0}),
    "errorstat_ERR": Info({"count": 3}),
    "cmdstat_get": Info({"calls": 2, "usec": 5, "usec_per_call": 2.5, "rejected_calls": 0, "failed_calls": 0}),
    "db0": Info({"keys": 2, "expires": 1, "avg_ttl": 0}),
}


@pytest.mark.parametrize("raw", [INFO, INFO.encode()], ids=["str", "bytes"])
@pytest.mark.parametrize("name", PARSED)
def test_info(raw: str | bytes, name: str) -> None:
    parsed = info(raw)
    assert type(parsed) is Info
    assert parsed.keys() == PARSED.keys()
    exactly(parsed[name], PARSED[name])


def test_info_by_type() -> None:
    parsed = info(INFO)
    exactly(parsed.integer("process_id"), 4711)
    exactly(parsed.number("mem_fragmentation_ratio"), 1.5)
    exactly(parsed.number("process_id"), 4711.0)
    exactly(parsed.text("role"), "master")
    exactly(parsed.parts("cmdstat_get").number("usec_per_call"), 2.5)
    exactly(parsed.parts("db0").integer("keys"), 2)
    for wrong in (parsed.integer, parsed.number, parsed.parts):
        with pytest.raises(TypeError, match=r"INFO: role is str, not (int|float|Info)"):
            wrong("role")
    with pytest.raises(TypeError, match="INFO: db0 is Info, not str"):
        parsed.text("db0")
    with pytest.raises(KeyError):
        parsed.integer("nonsense")


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
    exactly(info(f"field:{said}\r\n"), Info(field=value))


def test_info_that_is_not_utf8() -> None:
    exactly(info(b"config_file:/etc/\xff.conf\r\n"), Info(config_file="/etc/\\xff.conf"))


def test_info_of_nothing() -> None:
    exactly(info(""), Info())
    exactly(info(b"# Empty\r\n"), Info())


def test_info_keeps_every_module() -> None:
    found = info("module:name=ReJSON,ver=20809\r\nmodule:name=search,ver=21005\r\n")
    assert "ReJSON" in repr(found)
    assert "search" in repr(found)


# --- Modules and backups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [lambda value: value, as_bytes], ids=["str", "bytes"])
def test_modules(spell: Any) -> None:
    flat = [["name", "m", "ver", 1, "path", "/m.so", "args", ["a", "b"]]]
    maps = [{"name": "m", "ver": 1, "path": "/m.so", "args": ["a", "b"]}]
    for raw in (flat, maps):
        exactly(modules(spell(raw)), [Module("m", 1, "/m.so", ["a", "b"])])
    exactly(modules(spell([["name", "m", "ver", 1]])), [Module("m", 1, None, None)])
    exactly(modules([]), [])


@pytest.mark.parametrize("spell", [lambda value: value, as_bytes], ids=["str", "bytes"])
def test_backup_status(spell: Any) -> None:
    """As the documentation of 8.10 has it: all values are text."""
    flat = ["state", "sealed", "error", "", "start_time", "1717921800", "end_time", "1717921900"]
    for raw in (flat, dict(zip(flat[::2], flat[1::2], strict=True))):
        exactly(backup_status(spell(raw)), BackupStatus("sealed", "", 1717921800, 1717921900))
