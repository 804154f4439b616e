"""Replies of servers of other versions and makers, in the forms that are known of them."""

from __future__ import annotations

import math
import tempfile
from typing import Any

import pytest

from aioresp import Client
from aioresp.replies.acl import user
from aioresp.replies.clients import client_info, client_infos, hello
from aioresp.replies.cluster import SlotNode, cluster_info, cluster_nodes, cluster_slots
from aioresp.replies.diagnostics import SlowCommand, slow_commands
from aioresp.replies.server import Info, info
from aioresp.replies.streams import GroupInfo, group_infos, stream_info
from aioresp.testing import server as start_server
from tests.commands.exact import exactly


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        # Redis 5: a browser's POST, which the server takes for an attack.
        ("cmdstat_host::calls=2,usec=145,usec_per_call=72.50", "cmdstat_host:", {"calls": 2, "usec": 145}),
        ("cmdstat_client|list:calls=2,usec=145", "cmdstat_client|list", {"calls": 2, "usec": 145}),
        ("errorstat_ERR::count=2", "errorstat_ERR:", {"count": 2}),
        ("latency_percentiles_usec_host::p50=0.001,p99.9=3.007", "latency_percentiles_usec_host:", {"p99.9": 3.007}),
        # Redis 2.4
        ("allocation_stats:6=1,8=3,255=9,>=256=12", "allocation_stats", {"6": 1, "255": 9, ">=256": 12}),
        ("slave0:127.0.0.1,6380,online", "slave0", "127.0.0.1,6380,online"),
        # Redis 7.4 and 8
        ("db0:keys=1,expires=0,avg_ttl=0,subexpiry=0,unknown=x", "db0", {"keys": 1, "subexpiry": 0, "unknown": "x"}),
        ("db0_distrib_strings_sizes:0=1,1K=5", "db0_distrib_strings_sizes", {"0": 1, "1K": 5}),
        ("listener1:name=unix,bind=/tmp/a=b:c.sock", "listener1", {"name": "unix", "bind": "/tmp/a=b:c.sock"}),
        # Sentinel: a primary may be called 007, or 12.
        ("master0:name=12,status=ok,address=::1:6379,slaves=1", "master0", {"name": "12", "slaves": 1}),
        # Paths may hold anything.
        ("config_file:/etc/a:b=c,d=e.conf", "config_file", "/etc/a:b=c,d=e.conf"),
        ("config_file:/etc/a\u2028b\x0bc\x85.conf", "config_file", "/etc/a\u2028b\x0bc\x85.conf"),
        ("os:Linux 4.4.0-1075-aws x86_64", "os", "Linux 4.4.0-1075-aws x86_64"),
        # Dragonfly
        ("dragonfly_version:df-v1.14.0", "dragonfly_version", "df-v1.14.0"),
        ("used_memory_human:5.5MiB", "used_memory_human", "5.5MiB"),
    ],
)
def test_a_line_of_info(line: str, name: str, value: Any) -> None:
    for raw in (f"# Section\r\n{line}\r\nuptime:1\r\n", f"{line}\nuptime:1\n".encode()):
        found = info(raw)
        assert list(found) == [name, "uptime"]
        if isinstance(value, dict):
            assert value.items() <= found.parts(name).items()
        else:
            exactly(found[name], value)


def test_a_ratio_to_nothing() -> None:
    found = info("mem_fragmentation_ratio:-nan\r\nallocator_frag_ratio:inf\r\nrss_overhead_ratio:1.50\r\n")
    assert math.isnan(found.number("mem_fragmentation_ratio"))
    exactly(found.number("allocator_frag_ratio"), math.inf)
    exactly(found.number("rss_overhead_ratio"), 1.5)
    exactly(info("a_ratio:-inf"), Info(a_ratio=-math.inf))


REST = "age=855 idle=0 flags=N db=0 sub=0 psub=0 multi=-1 qbuf=0 qbuf-free=32768 obl=0 oll=0 omem=0 events=r cmd=client"
BEHIND = f"{REST} user=default redir=-1 tot-mem=1 argv-mem=2"


DRAGONFLY = (
    "id=3 addr=127.0.0.1:42116 laddr=127.0.0.1:6379 fd=27 tid=1 irqmatch=0 age=8 idle=2 tot-cmds=4 tot-net-in=164 "
    "tot-net-read-calls=4 tot-dispatches=0 db=0 flags=N phase=readsock name=web lib-name= lib-ver="
)


@pytest.mark.parametrize("end", ["", "\r\n"], ids=repr)
def test_a_line_of_client_list_of_dragonfly(end: str) -> None:
    """It leaves out what other servers all tell."""
    said = client_info(DRAGONFLY + end)
    exactly((said.id, said.addr, said.laddr, said.fd, said.name), (3, "127.0.0.1:42116", "127.0.0.1:6379", 27, "web"))
    exactly((said.age, said.idle, said.flags, said.tot_cmds), (8, 2, "N", 4))
    exactly((said.qbuf, said.multi, said.omem, said.events, said.cmd, said.user), (-1, -1, -1, "", "", None))
    exactly((said.extra["tid"], said.extra["phase"]), ("1", "readsock"))


@pytest.mark.parametrize("field", [part.partition("=")[0] for part in DRAGONFLY.split()])
def test_any_field_but_two_may_be_missing_or_odd(field: str) -> None:
    parts = {name: value for name, _, value in (part.partition("=") for part in DRAGONFLY.split())}
    for said in (None, "", "?"):
        changed = {name: said if name == field else value for name, value in parts.items()}
        line = " ".join(f"{name}={value}" for name, value in changed.items() if value is not None)
        if field == "id" or (field == "addr" and said is None):
            with pytest.raises(ValueError, match="connection"):
                client_info(line)
        else:
            assert client_info(line).id == 3
            assert field not in ("fd", "age", "idle", "db") or client_info(line).extra.get(field) == said


def test_a_greeting_without_modules() -> None:
    flat = ["server", "redis", "version", "7.4.0", "proto", 3, "id", 5, "mode", "standalone", "role", "master"]
    exactly(hello(flat).modules, [])


def test_a_line_of_client_list_of_redis_5() -> None:
    said = client_info(f"id=7 addr=127.0.0.1:52555 fd=5 name=a=b {REST}\n")
    exactly((said.id, said.addr, said.fd, said.name, said.qbuf_free), (7, "127.0.0.1:52555", 5, "a=b", 32768))
    exactly((said.laddr, said.user, said.redir, said.tot_mem, said.argv_mem), (None, None, None, None, None))
    exactly(client_info(f"id=7 addr=/tmp/a fd=9 name=b ck=x:0 fd=5 name= {REST}").addr, "/tmp/a fd=9 name=b ck=x:0")


@pytest.mark.parametrize(
    "path", ["/tmp/r.sock:0", "/tmp/a ck=x/r:0", "/a  b fd=1 name=x id=9 laddr=/c:0", " laddr= laddr=:0"]
)
def test_the_path_of_a_socket(path: str) -> None:
    said = client_info(f"id=7 addr={path} laddr={path} fd=5 name=n {BEHIND}")
    exactly((said.id, said.addr, said.laddr, said.fd, said.name), (7, path, path, 5, "n"))
    exactly(said.extra, {})


def test_a_user_with_a_sign_that_ends_lines_elsewhere() -> None:
    line = f"id=7 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=5 name= {BEHIND}".replace("default", "a\u2028b\x85c")
    first, second = client_infos(f"{line}\n{line}\n")
    exactly(first.user, "a\u2028b\x85c")
    assert first == second


async def test_a_real_socket_with_an_odd_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="a ck=x laddr=y fd=1 name=z ") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with start_server() as running:
            path = f"{running.unix_socket_path}:0"
            async with Client(running.unix_url) as r:
                own = await r.client_info()
                if own.addr.startswith("["):  # Valkey 9.1.2 takes a path with a colon for an IPv6 address
                    path = f"[{path}]:0"
                exactly((own.addr, own.laddr, own.name), (path, path, ""))
                assert "ck" not in own.extra
                assert [line.addr for line in await r.client_list() if line.id == own.id] == [path]


def test_nodes_of_clusters() -> None:
    old = "e7d1 127.0.0.1:30004 slave,fail? 67ed 0 1426238317239 4 disconnected\n"
    old += "07c3 :0 myself,master,noaddr - 0 0 2 connected 5461-10922 [93-<-292f8b] [77->-e7d1]\n"
    replica, itself = cluster_nodes(old)
    exactly((replica.host, replica.port, replica.bus_port, replica.primary_id), ("127.0.0.1", 30004, None, "67ed"))
    exactly((itself.host, itself.port, itself.slots), ("", 0, [(5461, 10922)]))
    exactly((itself.importing, itself.migrating), ({93: "292f8b"}, {77: "e7d1"}))
    (new,) = cluster_nodes(b"07c3 ::1:6379@16379,a.example,tls-port=0,shard-id=69bc master - 0 0 1 connected 0 2-3 \n")
    exactly((new.host, new.hostname, new.slots), ("::1", "a.example", [(0, 0), (2, 3)]))
    exactly(new.auxiliary, {"tls-port": "0", "shard-id": "69bc"})
    exactly(cluster_info("cluster_state:ok\r\ncluster_x:a:b\r\n"), {"cluster_state": "ok", "cluster_x": "a:b"})


def test_slots_of_redis_3() -> None:
    (found,) = cluster_slots([[0, 4095, ["127.0.0.1", 7000], ["127.0.0.1", 7004]]])
    exactly(found.primary, SlotNode("127.0.0.1", 7000, "", {}))
    exactly(found.replicas, [SlotNode("127.0.0.1", 7004, "", {})])


def test_slow_commands_of_redis_3() -> None:
    exactly(slow_commands([[14, 1309448221, 15, ["ping"]]]), [SlowCommand(14, 1309448221, 15, ["ping"], "", "", None)])


def test_streams_of_redis_5() -> None:
    exactly(
        group_infos([["name", "g", "consumers", 2, "pending", 3, "last-delivered-id", "5-0"]]),
        [GroupInfo("g", 2, 3, "5-0", None, None)],
    )
    fields = ["length", 2, "radix-tree-keys", 1, "radix-tree-nodes", 2, "groups", 2, "last-generated-id", "5-0"]
    said = stream_info([*fields, "first-entry", ["1-0", ["f", "v"]], "last-entry", None])
    exactly((said.length, said.last_generated_id, said.max_deleted_entry_id, said.last_entry), (2, "5-0", None, None))


def test_patterns_of_a_user_with_spaces_of_other_scripts() -> None:
    said = [
        "flags",
        ["on"],
        "passwords",
        [],
        "commands",
        "-@all",
        "keys",
        "~a\u2003b ~c",
        "channels",
        "",
        "selectors",
        [],
    ]
    found = user(said)
    assert found is not None
    exactly((found.keys, found.channels), (["~a\u2003b", "~c"], []))
