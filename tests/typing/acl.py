"""The types of the commands on users. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.acl import Denial, User
from aioresp.replies.clients import ClientInfo


async def text(r: Client[str]) -> None:
    assert_type(await r.acl_cat(), list[str])
    assert_type(await r.acl_deluser("ann"), int)
    assert_type(await r.acl_dryrun("ann", "GET", "k"), str)
    assert_type(await r.acl_genpass(), str)
    assert_type(await r.acl_getuser("ann"), User[str] | None)
    assert_type(await r.acl_list(), list[str])
    assert_type(await r.acl_load(), bool)
    assert_type(await r.acl_log(), list[Denial])
    assert_type((await r.acl_log())[0].client_info, ClientInfo)
    assert_type(await r.acl_log_reset(), bool)
    assert_type(await r.acl_save(), bool)
    assert_type(await r.acl_setuser("ann", keys=["a"]), bool)
    assert_type(await r.acl_users(), list[str])
    assert_type(await r.acl_whoami(), str)


async def raw(b: Client[bytes]) -> None:
    assert_type(await b.acl_getuser("ann"), User[bytes] | None)
    assert_type(await b.acl_list(), list[bytes])
    assert_type(await b.acl_users(), list[str])
    assert_type(await b.acl_whoami(), str)
