"""The types of the commands that write to disk. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.replies.server import BackupStatus


async def both(r: Client[str], b: Client[bytes]) -> None:
    assert_type(await r.backup_abort(), bool)
    assert_type(await r.backup_cleanup(), bool)
    assert_type(await r.backup_list(), list[str])
    assert_type(await r.backup_seal(), bool)
    assert_type(await r.backup_start(), bool)
    assert_type(await r.backup_status(), BackupStatus)
    assert_type(await r.bgrewriteaof(), str)
    assert_type(await r.bgsave(), str)
    assert_type(await b.bgsave(), str)
    assert_type(await r.lastsave(), int)
    assert_type(await r.save(), bool)
