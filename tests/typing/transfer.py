"""The types of the commands that copy values. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.dump("k"), bytes | None)
    assert_type(await r.restore("k", 0, b""), bool)
    assert_type(await r.migrate("h", 1, "k", 0, 5), bool)
    assert_type(await r.object_encoding("k"), str | None)
    assert_type(await r.object_freq("k"), int | None)
    assert_type(await r.object_idletime("k"), int | None)
    assert_type(await r.object_refcount("k"), int | None)
