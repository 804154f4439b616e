"""Types of Sentinel and of reads from replicas."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client, Sentinel


async def clients() -> None:
    s = Sentinel(["host:26379", ("other", 26379)], sentinel_password="secret", timeout=1.0)
    assert_type(s, Sentinel[str])
    assert_type(s.master_for("mymaster"), Client[str])
    assert_type(s.replica_for("mymaster"), Client[str])
    assert_type(s.slave_for("mymaster"), Client[str])
    assert_type(await s.discover_master("mymaster"), tuple[str, int])
    assert_type(await s.discover_replicas("mymaster"), list[tuple[str, int]])
    assert_type(await s.discover_slaves("mymaster"), list[tuple[str, int]])
    s.master_for("mymaster", timeout=1)  # type: ignore[arg-type]  # options belong to the Sentinel
    Sentinel(["host"], address_map=lambda address: ("localhost", address[1]))
    raw = Sentinel("host:26379", decode_responses=False)
    assert_type(raw, Sentinel[bytes])
    assert_type(await raw.master_for("mymaster").get("k"), bytes | None)


async def views(r: Client[str]) -> None:
    assert_type(r.with_options(read_from="replica"), Client[str])
    assert_type(await r.with_options(read_from="primary").get("k"), str | None)
    r.with_options(read_from="slave")  # type: ignore[call-overload]
