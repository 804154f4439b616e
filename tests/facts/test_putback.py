"""What a blocking pop took, by its reply, and the command that puts it back."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any

import pytest

from aioresp.facts.putback import guard, popped, token_for
from aioresp.facts.traits import traits

pytestmark = pytest.mark.quick

POPS: list[tuple[tuple[Any, ...], Any, tuple[Any, ...]]] = [
    (("BLPOP", "a", "b", 0), [b"b", b"x"], ("LPUSH", b"b", b"x")),
    (("brpop", b"a", 0), [b"a", b"\xff"], ("RPUSH", b"a", b"\xff")),
    (("BLMPOP", 0, 2, "a", "b", "LEFT"), [b"a", [b"1"]], ("LPUSH", b"a", b"1")),
    (("BLMPOP", 0, 1, "a", "left", "COUNT", 9), [b"a", [b"1", b"2"]], ("LPUSH", b"a", b"2", b"1")),
    (("BLMPOP", b"0", b"1", "LEFT", b"right", "COUNT", 9), [b"LEFT", [b"2", b"1"]], ("RPUSH", b"LEFT", b"1", b"2")),
    (("BZPOPMIN", "z", 0), [b"z", b"m", 0.1], ("ZADD", b"z", "NX", 0.1, b"m")),
    (("BZPOPMAX", "z", 0), [b"z", b"m", b"0.1"], ("ZADD", b"z", "NX", b"0.1", b"m")),
    (
        ("BZMPOP", 0, 1, "z", "MAX", "COUNT", 2),
        [b"z", [[b"m", 2.0], [b"n", float("inf")]]],
        ("ZADD", b"z", "NX", 2.0, b"m", float("inf"), b"n"),
    ),
]


@pytest.mark.parametrize(("command", "reply", "undo"), POPS, ids=[str(pop[0]) for pop in POPS])
def test_what_undoes_a_pop(command: tuple[Any, ...], reply: Any, undo: tuple[Any, ...]) -> None:
    assert traits(command).undoing is not None
    found = popped(command, reply)
    assert found is not None
    assert found.undo() == undo


@pytest.mark.parametrize("reply", [None, b"QUEUED"])
def test_a_reply_without_elements(reply: Any) -> None:
    assert popped(("BLPOP", "a", 0), reply) is None


@pytest.mark.parametrize(
    "line", ["BLMOVE a b LEFT RIGHT 0", "BRPOPLPUSH a b 0", "XREAD BLOCK 0 STREAMS s $", "WAIT 1 0"]
)
def test_what_takes_nothing_away(line: str) -> None:
    assert traits(line.split()).undoing is None
    assert popped(line.split(), [b"a", b"b"]) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("BLPOP a b 0", "LPOP a 0"),
        ("BRPOP a 0", "LPOP a 0"),
        ("BLMPOP 0 2 a b LEFT", "LPOP a 0"),
        ("BLMOVE a b LEFT RIGHT 0", "LPOP a 0"),
        ("BLMOVEM a b LEFT RIGHT 0", "LPOP a 0"),
        ("BRPOPLPUSH a b 0", "LPOP a 0"),
        ("BZPOPMIN z 0", "ZPOPMIN z 0"),
        ("BZMPOP 0 1 z MIN", "ZPOPMIN z 0"),
        ("XREADGROUP GROUP streams me BLOCK 0 STREAMS s t > >", "XACK s streams 0-0"),
        ("XREADGROUP BLOCK 0 GROUP STREAMS me NOACK STREAMS s t > >", "XACK s STREAMS 0-0"),
        ("XREADGROUP BLOCK 0 STREAMS s >", None),
        ("XREADGROUP GROUP g me BLOCK 0", None),
        ("BLMPOP 0 1", None),
        ("XREAD BLOCK 0 STREAMS s $", None),
        ("WAIT 1 0", None),
    ],
)
def test_what_stands_before_an_unblock(line: str, expected: str | None) -> None:
    found = guard(line.split())
    assert (None if found is None else " ".join(map(str, found))) == expected


def slot(key: bytes) -> int:
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return crc_hqx(key[start + 1 : end] if start >= 0 and end > start + 1 else key, 0) % 16384


@pytest.mark.parametrize("key", [b"foo", b"", b"{a}b", b"a{b}", b"{}x", b"a{b", b"a}b{c", b"\xff{"])
def test_a_token_begins_with_its_key_and_has_the_same_slot(key: bytes) -> None:
    assert slot(b"foo") == 12182  # as the servers have it
    tokens = {token_for(key) for _ in range(50)}
    assert len(tokens) == 50
    assert all(token.startswith(key + b":put-back:") and slot(token) == slot(key) for token in tokens)
