"""CLIENT: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from aioresp import Client, CommandRefused, ConnectionLost, ResponseError, UnblockedError
from aioresp.replies.clients import ClientInfo, TrackingInfo
from aioresp.testing import Server
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.client_caching(True), ("CLIENT", "CACHING", "YES")),
    (lambda r: r.client_caching(enabled=False), ("CLIENT", "CACHING", "NO")),
    (lambda r: r.client_capa("redirect"), ("CLIENT", "CAPA", "redirect")),
    (lambda r: r.client_getname(), ("CLIENT", "GETNAME")),
    (lambda r: r.client_getredir(), ("CLIENT", "GETREDIR")),
    (lambda r: r.client_id(), ("CLIENT", "ID")),
    (lambda r: r.client_import_source("ON"), ("CLIENT", "IMPORT-SOURCE", "ON")),
    (lambda r: r.client_import_source(mode="OFF"), ("CLIENT", "IMPORT-SOURCE", "OFF")),
    (lambda r: r.client_info(), ("CLIENT", "INFO")),
    (lambda r: r.client_kill("127.0.0.1:50000"), ("CLIENT", "KILL", "127.0.0.1:50000")),
    (lambda r: r.client_kill_filter(_id=7), ("CLIENT", "KILL", "ID", 7, "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(_id=[7, 8]), ("CLIENT", "KILL", "ID", 7, 8, "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(_type="pubsub"), ("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(addr="a:1"), ("CLIENT", "KILL", "ADDR", "a:1", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(laddr="a:1"), ("CLIENT", "KILL", "LADDR", "a:1", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(user="u"), ("CLIENT", "KILL", "USER", "u", "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(user="u", skipme=False), ("CLIENT", "KILL", "USER", "u", "SKIPME", "NO")),
    (lambda r: r.client_kill_filter(maxage=timedelta(minutes=1)), ("CLIENT", "KILL", "MAXAGE", 60, "SKIPME", "YES")),
    (lambda r: r.client_kill_filter(maxage=60), ("CLIENT", "KILL", "MAXAGE", 60, "SKIPME", "YES")),
    (
        lambda r: r.client_kill_filter(_id=7, _type="normal", user="u", addr=None),
        ("CLIENT", "KILL", "ID", 7, "TYPE", "normal", "USER", "u", "SKIPME", "YES"),
    ),
    (
        lambda r: r.client_kill_filter(
            name="n", idle=timedelta(seconds=5), flags="N", lib_name="l", lib_ver="1", db=0, capa="r", ip="::1"
        ),
        (
            *("CLIENT", "KILL", "NAME", "n", "IDLE", 5, "FLAGS", "N", "LIB-NAME", "l", "LIB-VER", "1"),
            *("DB", 0, "CAPA", "r", "IP", "::1", "SKIPME", "YES"),
        ),
    ),
    (
        lambda r: r.client_kill_filter(not_id=7, not_type="pubsub", not_addr="a:1", not_laddr="a:2", not_user="u"),
        (
            *("CLIENT", "KILL", "NOT-ID", 7, "NOT-TYPE", "pubsub", "NOT-ADDR", "a:1", "NOT-LADDR", "a:2"),
            *("NOT-USER", "u", "SKIPME", "YES"),
        ),
    ),
    (
        lambda r: r.client_kill_filter(
            not_name="n", not_flags="N", not_lib_name="l", not_lib_ver="1", not_db=0, not_capa="r", not_ip="::1"
        ),
        (
            *("CLIENT", "KILL", "NOT-NAME", "n", "NOT-FLAGS", "N", "NOT-LIB-NAME", "l", "NOT-LIB-VER", "1"),
            *("NOT-DB", 0, "NOT-CAPA", "r", "NOT-IP", "::1", "SKIPME", "YES"),
        ),
    ),
    (lambda r: r.client_list(), ("CLIENT", "LIST")),
    (lambda r: r.client_list(_type="normal"), ("CLIENT", "LIST", "TYPE", "normal")),
    (lambda r: r.client_list(client_id=[1, 2]), ("CLIENT", "LIST", "ID", 1, 2)),
    (
        lambda r: r.client_list("normal", [1], user="u", addr="a:1", laddr="a:2", maxage=60, skipme=True),
        (
            *("CLIENT", "LIST", "ID", 1, "TYPE", "normal", "USER", "u", "ADDR", "a:1", "LADDR", "a:2"),
            *("MAXAGE", 60, "SKIPME", "YES"),
        ),
    ),
    (
        lambda r: r.client_list(
            name="n", idle=5, flags="N", lib_name="l", lib_ver="1", db=0, capa="r", ip="::1", skipme=False
        ),
        (
            *("CLIENT", "LIST", "NAME", "n", "IDLE", 5, "FLAGS", "N", "LIB-NAME", "l", "LIB-VER", "1"),
            *("DB", 0, "CAPA", "r", "IP", "::1", "SKIPME", "NO"),
        ),
    ),
    (
        lambda r: r.client_list(not_id=[7, 8], not_type="pubsub", not_addr="a:1", not_laddr="a:2", not_user="u"),
        (
            *("CLIENT", "LIST", "NOT-ID", 7, 8, "NOT-TYPE", "pubsub", "NOT-ADDR", "a:1", "NOT-LADDR", "a:2"),
            *("NOT-USER", "u"),
        ),
    ),
    (
        lambda r: r.client_list(
            not_name="n", not_flags="N", not_lib_name="l", not_lib_ver="1", not_db=0, not_capa="r", not_ip="::1"
        ),
        (
            *("CLIENT", "LIST", "NOT-NAME", "n", "NOT-FLAGS", "N", "NOT-LIB-NAME", "l", "NOT-LIB-VER", "1"),
            *("NOT-DB", 0, "NOT-CAPA", "r", "NOT-IP", "::1"),
        ),
    ),
    (lambda r: r.client_no_evict("ON"), ("CLIENT", "NO-EVICT", "ON")),
    (lambda r: r.client_no_evict(mode="OFF"), ("CLIENT", "NO-EVICT", "OFF")),
    (lambda r: r.client_no_touch("ON"), ("CLIENT", "NO-TOUCH", "ON")),
    (lambda r: r.client_no_touch(mode="OFF"), ("CLIENT", "NO-TOUCH", "OFF")),
    (lambda r: r.client_pause(100), ("CLIENT", "PAUSE", 100)),
    (lambda r: r.client_pause(timedelta(seconds=2)), ("CLIENT", "PAUSE", 2000)),
    (lambda r: r.client_pause(timeout=100, all=False), ("CLIENT", "PAUSE", 100, "WRITE")),
    (lambda r: r.client_setinfo("LIB-NAME", "mine"), ("CLIENT", "SETINFO", "LIB-NAME", "mine")),
    (lambda r: r.client_setinfo(attr="LIB-VER", value="1.0"), ("CLIENT", "SETINFO", "LIB-VER", "1.0")),
    (lambda r: r.client_setname("me"), ("CLIENT", "SETNAME", "me")),
    (lambda r: r.client_tracking(), ("CLIENT", "TRACKING", "ON")),
    (lambda r: r.client_tracking(on=False), ("CLIENT", "TRACKING", "OFF")),
    (
        lambda r: r.client_tracking(clientid=7, prefix=["a:", b"b:"], bcast=True, noloop=True),
        ("CLIENT", "TRACKING", "ON", "REDIRECT", 7, "PREFIX", "a:", "PREFIX", b"b:", "BCAST", "NOLOOP"),
    ),
    (lambda r: r.client_tracking(optin=True), ("CLIENT", "TRACKING", "ON", "OPTIN")),
    (lambda r: r.client_tracking(optout=True), ("CLIENT", "TRACKING", "ON", "OPTOUT")),
    (lambda r: r.client_trackinginfo(), ("CLIENT", "TRACKINGINFO")),
    (lambda r: r.client_unblock(7), ("CLIENT", "UNBLOCK", 7)),
    (lambda r: r.client_unblock(client_id=7, error=True), ("CLIENT", "UNBLOCK", 7, "ERROR")),
    (lambda r: r.client_unpause(), ("CLIENT", "UNPAUSE")),
]

REFUSED: Refused = [
    (lambda r: r.client_capa(), ValueError, "CLIENT CAPA: capabilities is empty"),
    (lambda r: r.client_kill_filter(), ValueError, "CLIENT KILL: give at least one filter"),
    (lambda r: r.client_kill_filter(skipme=False), ValueError, "CLIENT KILL: give at least one filter"),
    (lambda r: r.client_kill_filter(_id=[]), ValueError, "CLIENT KILL: _id is empty"),
    (lambda r: r.client_kill_filter(not_id=[]), ValueError, "CLIENT KILL: not_id is empty"),
    (
        lambda r: r.client_kill_filter(username="u"),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        TypeError,
        "CLIENT KILL: there is no filter 'username'",
    ),
    (lambda r: r.client_list(client_id=[]), ValueError, "CLIENT LIST: client_id is empty"),
    (lambda r: r.client_tracking(prefix=["a"]), ValueError, "CLIENT TRACKING: prefix needs bcast"),
    (
        lambda r: r.client_tracking(optin=True, optout=True),
        ValueError,
        "CLIENT TRACKING: optin and optout exclude each other",
    ),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_who_we_are(r: Client[Any], server: Server, protocol: int) -> None:
    exactly(await r.client_getname(), None)
    number = await r.client_id()
    exactly(number, int(number))
    about = await r.client_info()
    exactly(type(about), ClientInfo)
    exactly((about.id, about.name, about.db, about.user, about.multi), (number, "", 0, "default", -1))
    exactly(about.resp, None if server.version < (7,) else protocol)
    exactly({type(part) for item in about.extra.items() for part in item} - {str}, set())
    async with Client(server.url, client_name="me") as named:
        exactly(await named.client_getname(), "me")
        exactly((await named.client_info()).name, "me")
        exactly(await named.with_options(decode_responses=False).client_getname(), b"me")


async def test_every_field_has_its_type(own: Client[Any], own_server: Server) -> None:
    about = (await own.client_info()).asdict()
    if own_server.flavour == "valkey" and own_server.version >= (9,):
        exactly([name for name, item in about.items() if item is None], ["io_thread"])
    wanted = {name: kind.partition(" ")[0] for name, kind in ClientInfo.__annotations__.items()}
    given = {name: type(item).__name__ for name, item in about.items() if item is not None}
    exactly(given | {"extra": "dict[str,"}, {name: wanted[name] for name in given})


async def test_client_list(own: Client[Any]) -> None:
    number = await own.client_id()
    for found in (
        await own.client_list(),
        await own.client_list(_type="normal"),
        await own.client_list(client_id=[number]),
    ):
        assert type(found) is list
        (mine,) = [client for client in found if client.id == number]
        exactly((mine.db, mine.cmd.partition("|")[0]), (0, "client"))
    exactly(await own.client_list(client_id=[10**9]), [])


async def test_client_list_with_filters(own: Client[Any], since: Since) -> None:
    since(valkey=(9, 0))
    number = await own.client_id()
    exactly([client.id for client in await own.client_list("normal", [number], skipme=False)], [number])
    exactly(await own.client_list(client_id=[number], skipme=True), [])
    exactly(await own.client_list(not_id=[number], db=0, name="nobody"), [])
    exactly(number in [client.id for client in await own.client_list(user="default", not_name="x")], True)


async def test_kill(own: Client[Any]) -> None:
    exactly(await own.client_kill_filter(_id=10**9), 0)
    exactly(await own.client_kill_filter(addr="127.0.0.1:1"), 0)
    exactly(await own.client_kill_filter(laddr="127.0.0.1:1", _type="replica"), 0)
    async with own.connection() as lease:
        number = await lease.client_id()
        exactly(await own.client_kill_filter(_id=number, _type="normal", user="default"), 1)
        with pytest.raises(ConnectionLost):
            await lease.ping()
    with pytest.raises(ResponseError, match="No such client"):
        await own.client_kill("127.0.0.1:1")
    async with own.connection() as lease:
        exactly(await own.client_kill((await lease.client_info()).addr), True)
        with pytest.raises(ConnectionLost):
            await lease.ping()


async def test_kill_by_age(own: Client[Any], since: Since) -> None:
    since(7, 4, valkey=(8, 0))
    exactly(await own.client_kill_filter(maxage=3600), 0)


async def test_kill_of_several(own: Client[Any], since: Since) -> None:
    since(valkey=(8, 1))
    async with own.connection() as a, own.connection() as b:
        exactly(await own.client_kill_filter(_id=[await a.client_id(), await b.client_id()]), 2)


async def test_pause(own: Client[Any]) -> None:
    exactly(await own.client_pause(10_000, all=False), True)
    exactly(await own.get("k"), None)
    waiting = asyncio.create_task(own.set("k", 1))
    async with own.connection() as lease:  # the paused write holds up what follows on its connection
        exactly(await lease.get("k"), None)
        assert not waiting.done()
        exactly(await lease.client_unpause(), True)
    exactly(await waiting, True)
    start = time.monotonic()
    exactly(await own.client_pause(30), True)
    await own.ping()
    assert time.monotonic() - start > 0.02


@pytest.mark.parametrize("error", [False, True])
async def test_unblock(own: Client[Any], error: bool) -> None:
    blocked = asyncio.create_task(own.blpop("nothing"))
    while not (ids := [client.id for client in await own.client_list() if client.cmd == "blpop"]):
        await asyncio.sleep(0.005)
    exactly(await own.client_unblock(ids[0], error=error), True)
    if error:
        with pytest.raises(UnblockedError):
            await blocked
    else:
        exactly(await blocked, None)
    exactly(await own.client_unblock(ids[0]), False)


# --- What belongs to one connection -----------------------------------------------------------------------------------


async def test_names(own: Client[Any], text: Text) -> None:
    async with own.connection() as lease:
        exactly(await lease.client_setname("me"), True)
        exactly(await lease.client_getname(), text("me"))
        exactly(await lease.client_setname(""), True)
        exactly(await lease.client_getname(), None)


async def test_setinfo(own: Client[Any], since: Since) -> None:
    since(7, 2)
    async with own.connection() as lease:
        exactly(await lease.client_setinfo("LIB-NAME", "mine"), True)
        exactly(await lease.client_setinfo("LIB-VER", "1.0"), True)
        about = await lease.client_info()
        exactly((about.lib_name, about.lib_ver), ("mine", "1.0"))


async def test_no_evict(own: Client[Any], since: Since) -> None:
    since(7, 0)
    async with own.connection() as lease:
        exactly(await lease.client_no_evict("ON"), True)
        exactly((await lease.client_info()).flags, "e")
        exactly(await lease.client_no_evict("OFF"), True)


async def test_no_touch(own: Client[Any], since: Since) -> None:
    since(7, 2)
    async with own.connection() as lease:
        exactly(await lease.client_no_touch("ON"), True)
        exactly((await lease.client_info()).flags, "T")
        exactly(await lease.client_no_touch("OFF"), True)


async def test_capa(own: Client[Any], since: Since) -> None:
    since(valkey=(8, 0))
    async with own.connection() as lease:
        exactly(await lease.client_capa("redirect"), True)


async def test_import_source(own: Client[Any], since: Since) -> None:
    since(valkey=(8, 1))
    await own.config_set("import-mode", "yes")
    async with own.connection() as lease:
        exactly(await lease.client_import_source("ON"), True)
        exactly((await lease.client_info()).flags, "I")
        exactly(await lease.client_import_source("OFF"), True)
    await own.config_set("import-mode", "no")


async def test_tracking(own: Client[Any], text: Text, protocol: int) -> None:
    exactly(await own.client_trackinginfo(), TrackingInfo({"off"}, -1, []))
    exactly(await own.client_getredir(), -1)
    async with own.connection() as lease, own.connection() as other:
        target = None if protocol == 3 else await other.client_id()
        exactly(await lease.client_tracking(clientid=target, bcast=True, prefix=["a", "b"], noloop=True), True)
        told = await lease.client_trackinginfo()
        flags = {"on", "bcast", "noloop"}
        exactly(told.replace(prefixes=sorted(told.prefixes)), TrackingInfo(flags, target or 0, text(["a", "b"])))
        exactly(await lease.client_getredir(), target or 0)
        exactly(await lease.client_tracking(False), True)
        exactly(await lease.client_tracking(clientid=target, optin=True), True)
        exactly(await lease.client_caching(True), True)
        exactly((await lease.client_trackinginfo()).flags, {"on", "optin", "caching-yes"})
        exactly(await lease.client_tracking(on=False), True)
        exactly(await lease.client_tracking(clientid=target, optout=True), True)
        exactly(await lease.client_caching(False), True)


@pytest.mark.parametrize("name", ["TRACKING", "CACHING", "SETNAME", "NO-EVICT", "NO-TOUCH", "CAPA", "IMPORT-SOURCE"])
async def test_what_changes_a_connection_belongs_on_a_lease(own: Client[Any], name: str) -> None:
    with pytest.raises(CommandRefused, match=rf"client\.connection\(\).*\[CLIENT {name}\]"):
        await getattr(own, f"client_{name.lower().replace('-', '_')}")("ON")
