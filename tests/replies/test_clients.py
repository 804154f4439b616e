"""Replies about connections, from old servers and new ones, as str and as bytes."""

from __future__ import annotations

import pytest

from aioresp.replies.clients import Hello, client_info, client_infos, hello
from aioresp.replies.server import Module
from tests.commands.exact import exactly

OLD = (
    "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= age=0 idle=1 flags=N db=0 sub=0 psub=0 multi=-1 qbuf=26 "
    "qbuf-free=32744 argv-mem=10 obl=0 oll=0 omem=0 tot-mem=49810 events=r cmd=client user=default redir=-1"
)
NEW = (
    f"{OLD} ssub=2 watch=1 resp=3 lib-name=a=b lib-ver= io-thread=0 tot-net-in=5 tot-net-out=6 tot-cmds=7 read-events=9"
)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_a_line_of_an_old_server(end: str) -> None:
    said = client_info(OLD + end)
    exactly(client_info((OLD + end).encode()), said)
    exactly((said.id, said.addr, said.name, said.multi, said.qbuf_free), (7, "127.0.0.1:50000", "", -1, 32744))
    exactly((said.ssub, said.resp, said.lib_name, said.tot_cmds, said.extra), (None, None, None, None, {}))


def test_a_line_of_a_new_server() -> None:
    said = client_info(NEW)
    exactly((said.ssub, said.watch, said.resp, said.io_thread, said.tot_cmds), (2, 1, 3, 0, 7))
    exactly((said.lib_name, said.lib_ver, said.extra), ("a=b", "", {"read-events": "9"}))


def test_a_path_with_spaces() -> None:
    said = client_info(OLD.replace("127.0.0.1:50000", "/tmp/my own socket:0"))
    exactly((said.addr, said.laddr), ("/tmp/my own socket:0", "127.0.0.1:6379"))


def test_lines() -> None:
    exactly(client_infos(""), [])
    exactly(client_infos(b""), [])
    exactly(client_infos(f"{OLD}\n{NEW}\n"), [client_info(OLD), client_info(NEW)])
    exactly(client_infos(f"{OLD}\n".encode()), [client_info(OLD)])


def test_hello() -> None:
    flat = ["server", "valkey", "version", "8.1.0", "proto", 2, "id", 5, "mode", "standalone", "role", "master"]
    flat += ["modules", [["name", "m", "ver", 1]]]
    exactly(hello(flat), Hello("valkey", "8.1.0", 2, 5, "standalone", "master", [Module("m", 1, None, None)], None))
    exactly(hello([*flat, "availability_zone", b"a"]).availability_zone, "a")
