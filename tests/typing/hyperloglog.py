"""The types of the commands on HyperLogLogs. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def text(r: Client[str]) -> None:
    assert_type(await r.pfadd("h", "a", 1), bool)
    assert_type(await r.pfcount("h", "i"), int)
    assert_type(await r.pfmerge("d", "h"), bool)
