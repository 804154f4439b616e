"""The data set on disk: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from aioresp import Client, ResponseError
from aioresp.replies.server import BackupStatus
from tests.commands.exact import Since, exactly
from tests.recorder import Call, Wire, sent, wire

WIRE: Wire = [
    (lambda r: r.backup_abort(), ("BACKUP", "ABORT")),
    (lambda r: r.backup_cleanup(), ("BACKUP", "CLEANUP")),
    (lambda r: r.backup_list(), ("BACKUP", "LIST")),
    (lambda r: r.backup_seal(), ("BACKUP", "SEAL")),
    (lambda r: r.backup_start(), ("BACKUP", "START")),
    (lambda r: r.backup_status(), ("BACKUP", "STATUS")),
    (lambda r: r.bgrewriteaof(), ("BGREWRITEAOF",)),
    (lambda r: r.bgsave(), ("BGSAVE", "SCHEDULE")),
    (lambda r: r.bgsave(schedule=False), ("BGSAVE",)),
    (lambda r: r.bgsave(cancel=True), ("BGSAVE", "CANCEL")),
    (lambda r: r.lastsave(), ("LASTSAVE",)),
    (lambda r: r.save(), ("SAVE",)),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


async def finished(r: Client[Any]) -> None:
    """Wait until nothing is written in the background."""
    while (said := await r.info("persistence"))["rdb_bgsave_in_progress"] or said["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.01)


async def test_saving(own: Client[Any]) -> None:
    before = await own.lastsave()
    assert type(before) is int
    exactly(await own.save(), True)
    assert time.time() - 100 < await own.lastsave() < time.time() + 100
    said = await own.bgsave()
    assert type(said) is str
    assert said.startswith("Background saving")
    await finished(own)
    exactly(await own.bgsave(schedule=False), "Background saving started")
    await finished(own)


async def test_nothing_to_cancel(own: Client[Any], since: Since) -> None:
    since(valkey=(8, 1))
    with pytest.raises(ResponseError, match="not in progress"):
        await own.bgsave(cancel=True)


async def test_rewriting(own: Client[Any]) -> None:
    exactly(await own.bgrewriteaof(), "Background append only file rewriting started")
    await finished(own)


async def test_backup(own: Client[Any], since: Since) -> None:
    since(8, 10)
    exactly(await own.backup_status(), BackupStatus("idle", "", 0, 0))
    exactly(await own.backup_start(), True)
    while (status := await own.backup_status()).state != "incrementing":
        await asyncio.sleep(0.01)
    assert status.start_time > 1_600_000_000
    exactly(await own.backup_seal(), True)
    files = await own.backup_list()
    assert files
    assert all(Path(file).exists() for file in files)
    exactly(await own.backup_cleanup(), True)
    exactly(await own.backup_start(), True)
    exactly(await own.backup_abort(), True)
    exactly((await own.backup_status()).state, "failed")
    exactly(await own.backup_cleanup(), True)
