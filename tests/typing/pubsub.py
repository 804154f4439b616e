"""The types of the commands on messages. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client


async def both(r: Client[str], b: Client[bytes]) -> None:
    assert_type(await r.publish("c", "m"), int)
    assert_type(await r.pubsub_channels(), list[str])
    assert_type(await b.pubsub_channels(), list[bytes])
    assert_type(await r.pubsub_numpat(), int)
    assert_type(await r.pubsub_numsub("c"), dict[str, int])
    assert_type(await b.pubsub_numsub("c"), dict[bytes, int])
    assert_type(await r.pubsub_shardchannels(), list[str])
    assert_type(await b.pubsub_shardchannels(), list[bytes])
    assert_type(await r.pubsub_shardnumsub("c"), dict[str, int])
    assert_type(await b.pubsub_shardnumsub("c"), dict[bytes, int])
    assert_type(await r.spublish("c", "m"), int)
