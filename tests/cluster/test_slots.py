"""Hash slots, and the slots that commands and redirects name."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import ArgumentError, AskError, Cluster, CrossSlotError, MovedError
from aioresp.cluster.packing import FORMS
from aioresp.cluster.slots import ONE_KEY, common_slot, slot_of, slot_of_command, slots_of
from aioresp.errors import response_error
from aioresp.facts.traits import traits
from aioresp.replies import as_is
from aioresp.testing import ClusterServers
from aioresp.wire.packing import pack


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12739),
        ("foo", 12182),
        ("{foo}bar", 12182),
        ("bar{foo}", 12182),
        ("a{foo}b{other}", 12182),
        ("{}foo", slot_of("{}foo")),
        ("foo{}{bar}", slot_of("foo{}{bar}")),
        (b"foo", 12182),
        (memoryview(b"foo"), 12182),
        (7, slot_of("7")),
    ],
)
def test_a_key_has_the_slot_of_the_servers(key: object, slot: int) -> None:
    assert slot_of(key) == slot


def test_an_empty_tag_is_none_and_braces_nest_as_the_servers_read_them() -> None:
    assert slot_of("{}foo") != slot_of("foo")
    assert slot_of("foo{{bar}}zap") == slot_of("{bar")
    assert slot_of("{foo") != slot_of("foo")


def test_keys_of_two_slots_are_refused_and_both_are_named() -> None:
    with pytest.raises(CrossSlotError, match=r"'one' and 'two' .*mset_nonatomic") as caught:
        slot_of_command(traits(("MSET", "one", "secret", "two", "secret")))
    assert caught.value.command == "MSET"
    assert caught.value.code == "CROSSSLOT"
    assert "secret" not in str(caught.value)


def test_a_common_tag_makes_one_slot() -> None:
    assert common_slot(("{t}one", "{t}two", b"{t}"), "MSET") == slot_of("t")
    assert slot_of_command(traits(("PING",))) is None


def test_the_fast_path_knows_commands_whose_key_is_their_first_argument_alone() -> None:
    assert {"GET", "get", "SET", "HSET", "LPUSH", "INCRBY"} <= ONE_KEY
    assert ONE_KEY.isdisjoint({"SORT", "GEORADIUS", "MGET", "EVAL", "BLPOP", "COPY", "PING", "ZUNIONSTORE"})


@pytest.mark.parametrize(
    "key", ["k", "", "{tag}k", "schl\u00fcssel", "k" * 255, "k" * 256, "k" * 70_000, b"k", b"\xff\x00\r\n"]
)
def test_a_name_and_a_key_are_packed_by_hand_as_pack_does_it(key: str | bytes) -> None:
    queue = Cluster("redis+cluster://127.0.0.1:1").pipeline()
    for name in map(str, FORMS):
        handle: Any = queue.execute((name, key), as_is)
        assert flat(handle._state) == flat(pack((name, key)))


def flat(packed: bytes | list[bytes]) -> bytes:
    return packed if isinstance(packed, bytes) else b"".join(packed)


async def test_commands_with_keys_of_each_kind_find_their_value(fresh: ClusterServers, r: Cluster[str]) -> None:
    keys: list[str | bytes] = ["plain", "", "{tag}k", "schl\u00fcssel", "k" * 300, b"\xff\x00\r\n"]
    for number, key in enumerate(keys):
        await r.set(key, f"{number}")
        assert await r.get(key) == f"{number}"
        assert await r.delete(key) == 1  # of the names that may have many keys


async def test_a_key_that_is_no_text_is_refused_without_showing_it() -> None:
    async with Cluster("redis+cluster://127.0.0.1:1") as r:
        for arguments in (("GET", "k\udc80"), ("SET", "k\udc80", "v")):
            with pytest.raises(ArgumentError) as caught:
                await r.execute(arguments, as_is)
            assert caught.value.__context__ is None
            with pytest.raises(ArgumentError) as caught:
                r.pipeline().execute(arguments, as_is)
            assert caught.value.__context__ is None


def test_slots_of_many_keys_are_those_of_each() -> None:
    plain: list[bytes | int | None] = [b"foo", b"bar", b""]
    assert slots_of(plain) == [slot_of(key) for key in plain]
    assert slots_of([b"{foo}bar", 7, None, b"foo"]) == [12182, 7, None, 12182]


@pytest.mark.parametrize(
    ("text", "slot", "host", "port"),
    [
        ("MOVED 3999 127.0.0.1:6381", 3999, "127.0.0.1", 6381),
        ("ASK 0 host.example:1", 0, "host.example", 1),
        ("MOVED 16383 fe80::1:6381", 16383, "fe80::1", 6381),
        ("MOVED 1 [::1]:6381", 1, "::1", 6381),
        ("MOVED 1 :6381", 1, "", 6381),
        ("MOVED 1 ?:6381", 1, "?", 6381),
        ("MOVED 16384 127.0.0.1:6381", None, "", 0),
        ("MOVED -1 127.0.0.1:6381", None, "", 0),
        ("MOVED 1e3 127.0.0.1:6381", None, "", 0),
        ("MOVED 1 127.0.0.1", None, "", 0),
        ("MOVED 1 127.0.0.1:99999", None, "", 0),
        ("ASK", None, "", 0),
    ],
)
def test_a_redirect_is_read_once_and_refused_where_it_makes_no_sense(
    text: str, slot: int | None, host: str, port: int
) -> None:
    error = response_error(text)
    assert isinstance(error, (MovedError, AskError))
    assert (error.slot, error.host, error.port) == (slot, host, port)
    assert error.code == text.split(maxsplit=1)[0]
