"""Properties of `protocol`: whatever comes, however it is cut, it reads what hiredis reads of it in one piece."""

from __future__ import annotations

import re
from typing import Any

import hiredis
from hypothesis import strategies as st

from aioresp.arguments import BITS
from aioresp.errors import ProtocolError
from aioresp.wire.faults import error_value
from aioresp.wire.packing import INCOMPLETE, Parser, Push, pack, unpack
from tests.fuzz.target import Target
from tests.fuzz.wire import cut, places, streams
from tests.spelled import LyingBuffer, LyingBytes, LyingFloat, LyingInt, LyingStr, strided

#: Where our limits come before those of hiredis, which would make room for all of it.
ABSURD = re.compile(rb"[*~>%|][+ ]*[0-9]{5,}")

#: Parts that a reply may announce here; as many as there may be would make the machine slow.
MOST = 1_000_000

PUSH = re.compile(rb"(?:\A|\n)>")

Read = tuple[list[Any], str]


def plain(value: Any) -> Any:
    """Return what can be compared: NaN is NaN, 1 is not True, and a map keeps its order."""
    if isinstance(value, Exception):
        return (type(value).__name__, str(value))
    if isinstance(value, dict):
        return ("map", [(plain(key), plain(item)) for key, item in value.items()])
    if isinstance(value, Push):
        return ("push", [plain(item) for item in value])
    if isinstance(value, list):
        return ("list", [plain(item) for item in value])
    return (type(value).__name__, repr(value))


def read(parser: Parser, pieces: list[bytes], decode: bool) -> Read:
    values: list[Any] = []
    partial = False
    for piece in pieces:
        parser.feed(piece, partial)
        partial = False
        while parser.has_data():
            try:
                value = parser.gets(decode)
            except UnicodeDecodeError:
                value = "no text"
            except Exception as error:
                return values, "broken" if "the connection was dropped" in str(parser.broken(error)) else repr(error)
            if value is INCOMPLETE:
                partial = True
                break
            values.append(plain(value))
        assert parser.waiting >= 0
        assert parser._announced.parts <= MOST
    return values, "incomplete" if partial else "complete"


def reference(stream: bytes, decode: bool) -> Read:
    reader = hiredis.Reader(
        protocolError=ProtocolError, replyError=error_value, encoding="utf-8", notEnoughData=INCOMPLETE
    )
    reader.feed(stream)
    values: list[Any] = []
    while reader.has_data():
        try:
            value = reader.gets(decode)
        except UnicodeDecodeError:
            value = "no text"
        except Exception:
            return values, "broken"
        if value is INCOMPLETE:
            return values, "incomplete"
        values.append(plain(value))
    return values, "complete"


def any_stream(stream: bytes, where: tuple[bool, list[int]], decode: bool) -> None:
    """The same replies and the same end, in one piece and cut anywhere."""
    # A push within a reply, which no server sends, may be taken for one of its own: it is not decoded then.
    decode = decode and PUSH.search(stream) is None
    whole = read(Parser(3 * MOST), [stream] if stream else [], decode)
    values, end = read(Parser(3 * MOST), cut(stream, where), decode)
    if ABSURD.search(stream):
        # What is refused may be refused sooner or later, but nothing else is read before.
        shorter = min(len(values), len(whole[0]))
        assert values[:shorter] == whole[0][:shorter]
        return
    assert (values, end) == whole
    expected = reference(stream, decode)
    if whole != expected:
        # Of a map with a wrong header, or a list for a key, hiredis may give up sooner, or later; and what has a key
        # twice it takes for another map.
        assert b"%" in stream
        if "broken" not in (whole[1], expected[1]):
            assert whole[1] == expected[1]
            assert len(whole[0]) == len(expected[0])
        for mine, his in zip(whole[0], expected[0], strict=False):
            assert mine == his or "'map'" in repr((mine, his))


arguments = st.one_of(
    st.text(),
    st.binary(),
    st.binary(max_size=40_000),
    st.binary().map(bytearray),
    st.binary().map(lambda data: memoryview(data)),
)
#: The same in classes that say something else.
lies = st.one_of(
    st.text().map(LyingStr),
    st.binary().map(LyingBytes),
    st.binary(max_size=40_000).map(LyingBytes),
    st.binary().map(LyingBuffer),
    st.binary().map(strided),
    st.integers().map(LyingInt),
    st.floats().map(LyingFloat),
)
integers = st.one_of(st.integers(), st.integers(2 ** (BITS - 2), 2 ** (BITS + 2)), st.just(-(10**5000)))
anything = st.one_of(arguments, lies, integers, st.floats(), st.none(), st.booleans(), st.lists(st.text()))


def any_arguments(items: list[Any]) -> None:
    """What is packed is read as it was, or is refused by TypeError or ValueError."""
    try:
        packed = pack(tuple(items))
    except (TypeError, ValueError) as error:
        if "argument " not in str(error) and not str(error).startswith("the name of a command "):
            raise
        return
    stream = packed if isinstance(packed, bytes) else b"".join(packed)
    expected = [encoded(item) for item in items]
    reader = hiredis.Reader()
    reader.feed(stream)
    assert reader.gets() == expected
    assert not reader.has_data()
    assert unpack(packed) == expected


def encoded(item: Any) -> bytes:
    """Return the bytes of an item by the methods of the class that it is made of."""
    if isinstance(item, str):
        return str.encode(item)
    if isinstance(item, int):
        return int.__repr__(item).encode()
    if isinstance(item, float):
        return float.__repr__(item).encode()
    if isinstance(item, bytes):
        return bytes.__getitem__(item, slice(None))
    return bytes(bytearray.__getitem__(item, slice(None))) if isinstance(item, bytearray) else bytes(item)


#: A command's name is always a word.
commands = st.tuples(st.one_of(st.text(), st.binary(), lies), st.lists(anything, max_size=20)).map(
    lambda p: [p[0], *p[1]]
)

TARGETS: tuple[Target, ...] = (
    Target(any_stream, streams(), places, st.booleans()),
    Target(any_arguments, commands),
)
