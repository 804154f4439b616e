"""The types of the commands on the server's clients. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client, Lease
from aioresp.replies.clients import ClientInfo, TrackingInfo


async def text(r: Client[str]) -> None:
    assert_type(await r.client_getname(), str | None)
    assert_type(await r.client_getredir(), int)
    assert_type(await r.client_id(), int)
    assert_type(await r.client_info(), ClientInfo)
    assert_type((await r.client_info()).id, int)
    assert_type((await r.client_info()).resp, int | None)
    assert_type((await r.client_info()).extra, dict[str, str])
    assert_type(await r.client_kill("a:1"), bool)
    assert_type(await r.client_kill_filter(_id=1, not_db=2), int)
    assert_type(await r.client_list(maxage=10), list[ClientInfo])
    assert_type(await r.client_pause(1), bool)
    assert_type(await r.client_trackinginfo(), TrackingInfo[str])
    assert_type(await r.client_unblock(1), bool)
    assert_type(await r.client_unpause(), bool)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.client_getname(), bytes | None)
    assert_type(await b.client_info(), ClientInfo)
    assert_type(await b.client_trackinginfo(), TrackingInfo[bytes])
    assert_type((await b.client_trackinginfo()).prefixes, list[bytes])


async def leased(r: Lease[str]) -> None:
    assert_type(await r.client_caching(True), bool)
    assert_type(await r.client_capa("redirect"), bool)
    assert_type(await r.client_import_source("ON"), bool)
    assert_type(await r.client_no_evict("ON"), bool)
    assert_type(await r.client_no_touch("ON"), bool)
    assert_type(await r.client_setinfo("LIB-NAME", "mine"), bool)
    assert_type(await r.client_setname("me"), bool)
    assert_type(await r.client_tracking(True), bool)


async def wrong(r: Client[str]) -> None:
    await r.client_list(username="ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await r.client_no_evict("yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
