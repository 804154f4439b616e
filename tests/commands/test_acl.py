"""ACL: what is sent, and what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from aioresp import Client, NoPermissionError, ResponseError
from aioresp.replies.acl import Denial, Selector, User
from aioresp.replies.clients import ClientInfo
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.commands.conftest import make
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.acl_cat(), ("ACL", "CAT")),
    (lambda r: r.acl_cat(category="read"), ("ACL", "CAT", "read")),
    (lambda r: r.acl_deluser("ann"), ("ACL", "DELUSER", "ann")),
    (lambda r: r.acl_deluser("ann", "bob"), ("ACL", "DELUSER", "ann", "bob")),
    (lambda r: r.acl_dryrun("ann", "SET", "k", 1), ("ACL", "DRYRUN", "ann", "SET", "k", 1)),
    (lambda r: r.acl_genpass(), ("ACL", "GENPASS")),
    (lambda r: r.acl_genpass(bits=8), ("ACL", "GENPASS", 8)),
    (lambda r: r.acl_getuser("ann"), ("ACL", "GETUSER", "ann")),
    (lambda r: r.acl_list(), ("ACL", "LIST")),
    (lambda r: r.acl_load(), ("ACL", "LOAD")),
    (lambda r: r.acl_log(), ("ACL", "LOG")),
    (lambda r: r.acl_log(count=3), ("ACL", "LOG", 3)),
    (lambda r: r.acl_log_reset(), ("ACL", "LOG", "RESET")),
    (lambda r: r.acl_save(), ("ACL", "SAVE")),
    (lambda r: r.acl_setuser("ann"), ("ACL", "SETUSER", "ann")),
    (lambda r: r.acl_setuser("ann", enabled=True), ("ACL", "SETUSER", "ann", "on")),
    (lambda r: r.acl_setuser("ann", False), ("ACL", "SETUSER", "ann", "off")),
    (lambda r: r.acl_setuser("ann", nopass=True), ("ACL", "SETUSER", "ann", "nopass")),
    (lambda r: r.acl_setuser("ann", passwords="+a"), ("ACL", "SETUSER", "ann", b">a")),
    (lambda r: r.acl_setuser("ann", passwords=["+a", b"-b"]), ("ACL", "SETUSER", "ann", b">a", b"<b")),
    (lambda r: r.acl_setuser("ann", hashed_passwords=["+a", b"-b"]), ("ACL", "SETUSER", "ann", b"#a", b"!b")),
    (
        lambda r: r.acl_setuser("ann", categories=["+read", "-@write", "+@set", "-fast"]),
        ("ACL", "SETUSER", "ann", b"+@read", b"-@write", b"+@set", b"-@fast"),
    ),
    (
        lambda r: r.acl_setuser("ann", commands=["+get", "-client|kill"]),
        ("ACL", "SETUSER", "ann", b"+get", b"-client|kill"),
    ),
    (
        lambda r: r.acl_setuser("ann", keys=["a*", "~b*", b"%R~c*", b"d"]),
        ("ACL", "SETUSER", "ann", b"~a*", b"~b*", b"%R~c*", b"~d"),
    ),
    (lambda r: r.acl_setuser("ann", channels=["n*", b"m"]), ("ACL", "SETUSER", "ann", b"&n*", b"&m")),
    (
        lambda r: r.acl_setuser("ann", selectors=[("+get", "a*"), (b"-set", b"%W~b")]),
        ("ACL", "SETUSER", "ann", b"(+get ~a*)", b"(-set %W~b)"),
    ),
    (
        lambda r: r.acl_setuser("ann", reset=True, reset_keys=True, reset_channels=True, reset_passwords=True),
        ("ACL", "SETUSER", "ann", "reset", "resetkeys", "resetchannels", "resetpass"),
    ),
    (lambda r: r.acl_setuser("ann", rules=["+@all", b"~*"]), ("ACL", "SETUSER", "ann", "+@all", b"~*")),
    (
        lambda r: r.acl_setuser(
            "ann", categories="+read", commands="-get", keys="ab*", channels=b"news", rules="alldbs"
        ),
        ("ACL", "SETUSER", "ann", b"+@read", b"-get", b"~ab*", b"&news", "alldbs"),
    ),
    (
        lambda r: r.acl_setuser("ann", True, keys=["a"], reset=True, passwords="+ü", rules=["alldbs"]),
        ("ACL", "SETUSER", "ann", "reset", "on", ">ü".encode(), b"~a", "alldbs"),
    ),
    (lambda r: r.acl_users(), ("ACL", "USERS")),
    (lambda r: r.acl_whoami(), ("ACL", "WHOAMI")),
]

REFUSED: Refused = [
    (
        lambda r: r.acl_setuser("ann", nopass=True, passwords="+a"),
        ValueError,
        "ACL SETUSER: nopass and passwords exclude each other",
    ),
    (
        lambda r: r.acl_setuser("ann", passwords="secret"),
        ValueError,
        "ACL SETUSER: each of passwords begins with + or -",
    ),
    (lambda r: r.acl_setuser("ann", hashed_passwords=["a"]), ValueError, "ACL SETUSER: each of hashed_passwords"),
    (lambda r: r.acl_setuser("ann", categories=["read"]), ValueError, "ACL SETUSER: each of categories"),
    (lambda r: r.acl_setuser("ann", commands=[""]), ValueError, "ACL SETUSER: each of commands"),
    (lambda r: r.acl_setuser("ann", selectors=[("get", "a")]), ValueError, "ACL SETUSER: each of selectors"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)
    assert "secret" not in message


@pytest.fixture
async def own(own: Client[Any]) -> AsyncIterator[Client[Any]]:
    """A server with no users of former tests."""
    await own.acl_log_reset()
    yield own
    await own.acl_deluser("ann", "bob")


async def test_users(own: Client[Any], text: Text) -> None:
    exactly(await own.acl_users(), ["default"])
    exactly(await own.acl_whoami(), "default")
    exactly(await own.acl_getuser("ann"), None)
    exactly(await own.acl_setuser("ann"), True)
    exactly(await own.acl_setuser("bob", enabled=True), True)
    exactly(sorted(await own.acl_users()), ["ann", "bob", "default"])
    lines = await own.acl_list()
    exactly([type(line) for line in lines], [type(text(""))] * 3)
    assert text("user bob on ")[:11] in [line[:11] for line in lines]
    exactly(await own.acl_deluser("ann", "bob", "nobody"), 2)
    exactly(await own.acl_users(), ["default"])


async def test_getuser(own: Client[Any], own_server: Server, text: Text) -> None:
    await own.acl_setuser(
        "ann",
        enabled=True,
        passwords=["+secret"],
        categories=["+read"],
        commands=["-get"],
        keys=["a*", "ü*"],
        channels=["news"],
        reset=True,
        reset_channels=True,
    )
    ann = await own.acl_getuser("ann")
    assert ann is not None
    exactly((ann.enabled, ann.passwords), (True, [hashlib.sha256(b"secret").hexdigest()]))
    exactly(ann.flags - {"sanitize-payload"}, {"on"})
    exactly((ann.commands, ann.keys, ann.channels), ("-@all +@read -get", text(["~a*", "~ü*"]), text(["&news"])))
    exactly(ann.selectors, [])
    default = await own.acl_getuser("default")
    assert default is not None
    digest = hashlib.sha256((own_server.password or "").encode()).hexdigest()
    wanted = User(True, {"on"}, [digest], "+@all", text(["~*"]), text(["&*"]), default.databases, [])
    exactly(default.replace(flags=default.flags - {"sanitize-payload"}), wanted)


async def test_setuser_changes_what_it_is_told_to(own: Client[Any], text: Text) -> None:
    await own.acl_setuser("ann", enabled=True, nopass=True, keys=["a"], categories=["+all"])
    await own.acl_setuser("ann", keys=["b"])
    ann = await own.acl_getuser("ann")
    assert ann is not None
    exactly((ann.enabled, ann.keys, "nopass" in ann.flags), (True, text(["~a", "~b"]), True))
    digest = hashlib.sha256(b"other").hexdigest()
    await own.acl_setuser("ann", enabled=False, reset_keys=True, reset_passwords=True, hashed_passwords=[f"+{digest}"])
    ann = await own.acl_getuser("ann")
    assert ann is not None
    exactly((ann.enabled, ann.keys, ann.passwords), (False, [], [digest]))
    exactly("off" in ann.flags, True)


async def test_selectors(own: Client[Any], text: Text, since: Since) -> None:
    since(7, 0)
    await own.acl_setuser("ann", keys=["%R~r*", "%W~w*"], selectors=[("+set", "s*")])
    ann = await own.acl_getuser("ann")
    assert ann is not None
    exactly(ann.keys, text(["%R~r*", "%W~w*"]))
    exactly(ann.selectors, [Selector("-@all +set", text(["~s*"]), [], ann.databases)])


async def test_databases(own: Client[Any], since: Since) -> None:
    since(valkey=(9, 1))
    await own.acl_setuser("ann", rules=["resetdbs", "db=0,1"])
    ann = await own.acl_getuser("ann")
    assert ann is not None
    exactly(ann.databases, "db=0,1")


async def test_cat(own: Client[Any]) -> None:
    categories = await own.acl_cat()
    assert {"read", "write", "scripting"} <= set(categories)
    assert {type(name) for name in categories} == {str}
    assert {"eval", "evalsha"} <= set(await own.acl_cat("scripting"))


async def test_genpass(own: Client[Any]) -> None:
    exactly(len(await own.acl_genpass()), 64)
    exactly(len(bytes.fromhex(await own.acl_genpass(16))), 2)


async def test_dryrun(own: Client[Any], since: Since) -> None:
    since(7, 0)
    await own.acl_setuser("ann", commands=["+get"], keys=["a*"])
    exactly(await own.acl_dryrun("ann", "GET", "a"), "OK")
    reason = await own.acl_dryrun("ann", "GET", "b")
    assert type(reason) is str
    assert "'b' key" in reason
    assert "set" in await own.acl_dryrun("ann", "SET", "a", 1)


async def test_log(own: Client[Any], own_server: Server) -> None:
    await own.acl_setuser("ann", enabled=True, nopass=True, commands=["+get", "+reset"], keys=["a"])
    exactly(await own.acl_log(), [])
    async with own.connection() as lease:
        number = await lease.client_id()
        await lease.auth("", "ann")
        with pytest.raises(NoPermissionError):
            await lease.get(b"b\xff")
        with pytest.raises(NoPermissionError):
            await lease.set("a", 1)
    exactly(len(await own.acl_log(count=1)), 1)
    command, key = await own.acl_log()
    exactly((command.count, command.reason, command.context, command.username), (1, "command", "toplevel", "ann"))
    exactly((key.reason, key.object), ("key", "b\\xff"))
    exactly((type(key), type(key.age_seconds), type(key.client_info)), (Denial, float, ClientInfo))
    exactly((key.client_info.id, key.client_info.user), (number, "ann"))
    if own_server.version >= (7, 2):
        assert key.timestamp_created is not None
        assert key.timestamp_created > 1_600_000_000_000
    else:
        exactly((key.entry_id, key.timestamp_created, key.timestamp_last_updated), (None, None, None))
    exactly(await own.acl_log_reset(), True)
    exactly(await own.acl_log(), [])


@pytest.fixture
def with_file(tmp_path: Path, executable: str | None) -> Iterator[Server]:
    """A server with a file of users."""
    file = tmp_path / "users.acl"
    file.write_text("user default on nopass ~* &* +@all\nuser ann off\n")
    with start_server(executable=executable, config={"aclfile": str(file)}) as running:
        yield running


async def test_file(with_file: Server, own: Client[Any], protocol: int, decode: bool) -> None:
    with pytest.raises(ResponseError, match="ACL file"):
        await own.acl_save()
    async with make(with_file, protocol, decode) as r:
        await r.acl_setuser("bob")
        exactly(await r.acl_load(), True)
        exactly(sorted(await r.acl_users()), ["ann", "default"])
        await r.acl_setuser("bob")
        exactly(await r.acl_save(), True)
        exactly(await r.acl_load(), True)
        exactly(sorted(await r.acl_users()), ["ann", "bob", "default"])
