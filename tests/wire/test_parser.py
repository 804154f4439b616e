"""`parser` against values that look like what they are not: the replies stay the same, and so does the cost."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import pairwise, product
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioresp.errors import ProtocolError, ReplyTooLarge
from aioresp.wire import elements, parser
from aioresp.wire.parser import Parser, Push
from aioresp.wire.salvage import INCOMPLETE
from tests.cases import cases

# --- The same replies ------------------------------------------------------------------------------------------------

#: What values are made of that look like headers, or like the ends of other values.
PIECES = [
    *(b"\n%c" % kind for kind in b"*>~|%$=+-:"),
    *(b"\r\n%b\r\n" % header for header in (b"*2", b"*12345", b"*99999999", b">3", b">99999", b"%1", b"~77777", b"|1")),
    b"\r\n$5\r\n*99999\r\n",
    b"\r\n$12345\r\n",
    b"$3\r\nabc\r\n",
    b"*12345",
    b"\r",
    b"\n",
    b"\r\n",
    b">",
    b"%",
    b"a",
    b"0123456789",
    b"\xff",
]
#: What stands for a reply that should be text and is not.
NOT_TEXT = object()

values = st.tuples(
    st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), st.sampled_from([1, 1, 1, 40, 1500])
).map(lambda pair: (pair[0] * pair[1])[:60_000])
replies = st.recursive(
    st.one_of(values, values, st.integers(-5, 20_000), st.none(), st.sampled_from(["OK", "*12345", ">", "%1"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, min_size=20, max_size=40),
        st.dictionaries(values, inner, max_size=5),
        st.lists(st.tuples(inner, inner), max_size=3).map(tuple),
    ),
    max_leaves=30,
)


def wire(value: Any) -> bytes:
    if value is None:
        return b"_\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return b"+%b\r\n" % value.encode()
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, (dict, tuple)):
        pairs = value.items() if isinstance(value, dict) else value
        return b"%%%d\r\n" % len(value) + b"".join(wire(key) + wire(item) for key, item in pairs)
    return b"%c%d\r\n" % (b">" if isinstance(value, Push) else b"*", len(value)) + b"".join(map(wire, value))


def as_text(number: int) -> bool:
    """Return whether the reply of this number is to be decoded."""
    return number % 5 > 1


def read(stream: bytes, decode: bool) -> list[Any]:
    """Return all replies: slowly, by recursion, and without hiredis."""
    found = []
    at = number = 0
    while at < len(stream):
        is_push = stream[at : at + 1] == b">"
        value, at = read_one(stream, at)
        if not is_push:
            if decode and as_text(number):
                value = text(value)
            number += 1
        found.append(value)
    return found


def text(value: Any) -> Any:
    try:
        return decoded(value)
    except UnicodeDecodeError:
        return NOT_TEXT


def decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {decoded(key): decoded(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(decoded, value))
    return list(map(decoded, value)) if isinstance(value, list) else value


def read_one(stream: bytes, at: int) -> tuple[Any, int]:
    end = stream.index(b"\r\n", at)
    kind, line = stream[at : at + 1], stream[at + 1 : end]
    end += 2
    if kind in b"+_:":
        return {b"+": line, b"_": None, b":": int(line or b"0") if kind == b":" else 0}[kind], end
    count = int(line)
    if kind == b"$":
        return stream[end : end + count], end + count + 2
    items = []
    for _ in range(2 * count if kind == b"%" else count):
        item, end = read_one(stream, end)
        items.append(item)
    return (mapped(list(zip(items[::2], items[1::2], strict=True))) if kind == b"%" else items), end


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize("undecoded", [False, True])
def test_a_map_in_a_push_is_the_same(undecoded: bool, size: int) -> None:
    """Where it is not known whether a reply has begun, too: the push stays a push, and a map is none."""
    inner = ((["k"], "a"), (["k"], {b"m": ()}))
    push = b">2\r\n+invalidate\r\n" + wire(inner)
    stream = b"+OK\r\n" + push + wire({b"k": {b"a": 1}}) + push + wire(inner)
    one = Parser()
    if undecoded:
        one.undecoded()
    got: list[Any] = []
    for start in range(0, len(stream), size):
        one.feed(stream[start : start + size], True)
        got += one.items()
    told = [([b"k"], b"a"), ([b"k"], {b"m": {}})]
    assert got == [b"OK", [b"invalidate", told], {b"k": {b"a": 1}}, [b"invalidate", told], told]
    assert [isinstance(reply, Push) for reply in got] == [False, True, False, True, False]


def mapped(pairs: list[tuple[Any, Any]]) -> Any:
    """Return pairs as a dict, if that holds all of them."""
    try:
        found = dict(pairs)
    except TypeError:
        return pairs
    return found if len(found) == len(pairs) else pairs


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    if len(cuts) == 1:
        size = cuts[0] % 5000 + 1
        cuts = list(range(size, len(stream), size))
    ends = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return (stream[a:b] for a, b in pairwise(ends))


@pytest.mark.turns(2)
@pytest.mark.parametrize("undecoded", [False, True])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.tuples(replies, st.integers(0, 9)), max_size=12), st.data())
def test_replies_are_the_same_whatever_values_hold(
    undecoded: bool, items: list[tuple[Any, int]], data: st.DataObject
) -> None:
    """Also with messages between them, at any split, and where only some are decoded."""
    stream = b""
    for value, number in items:
        stream += wire(value)
        if not number:
            stream += b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n" + wire(b"\r\n>5\r\n")
    expected = read(stream, not undecoded)
    one = Parser()
    if undecoded:
        one.undecoded()
    got: list[Any] = []
    partial = False
    number = 0
    for piece in pieces(stream, data.draw(st.lists(st.integers(0, 10**6), max_size=8))):
        one.feed(piece, partial or undecoded)
        if undecoded:
            got.extend(one.items())
            continue
        partial = False
        while one.has_data():
            try:
                reply = one.gets(as_text(number))
            except UnicodeDecodeError:
                reply = NOT_TEXT
            if reply is INCOMPLETE:
                partial = True
                break
            got.append(reply)
            number += reply.__class__ is not Push
        assert one._finding is not parser.ASTRAY
    assert got == expected
    assert one.waiting <= 1024 + 40


@cases("size", [1, 2, 7, 61, 4096, 10**6])
@cases("header", [b"*99999999\r\n", b"~99999999\r\n", b">99999999\r\n", b"|99999\r\n"])
@cases(
    "before",
    [
        b"",
        b"$6\r\n*12345\r\n" * 300,
        b"*2\r\n" + wire(b"\r\n*12345\r\n" * 2000),
        b"*300\r\n" + b"*2\r\n:1\r\n$4\r\n\n*1\n\r\n" * 200,
        b"+OK\r\n:1\r\n" * 200 + wire(b"\n>" * 500) + b"=9\r\ntxt:\n>123\r\n",
        b"%2\r\n" + wire(b"\r\n%1\r\n" * 30) + b":1\r\n" + wire(b"*" * 5000),
    ],
)
def test_what_announces_too_much_is_refused_behind_any_value(before: bytes, header: bytes, size: int) -> None:
    """The parser has learnt that what looks like a header may be none, but never takes it for granted."""
    one = Parser(max_reply=3_000_000)
    stream = before + header
    partial = False
    with pytest.raises((ProtocolError, ReplyTooLarge), match="99,999"):
        for start in range(0, len(stream), size):
            one.feed(stream[start : start + size], partial)
            partial = False
            while one.has_data():
                if one.gets(False) is INCOMPLETE:
                    partial = True
                    break


@pytest.mark.parametrize("end", [b"XY", b"X\n", b"\rX", b"++", b"$$", b"**", b"\n\n"])
@pytest.mark.parametrize(
    "before",
    [
        b"$1\r\na",
        b"*2\r\n=5\r\ntxt:a",
        b"%1\r\n$1\r\na",
        b"$3000\r\n" + b"\n*1\r\n" * 600,
        b"$200000\r\n" + b"a" * 200_000,
        b"*300\r\n" + wire(b"\r\n*12345\r\n") * 20 + b"$1\r\na",
    ],
    ids=["value", "list", "map", "hostile value", "large value", "walked"],
)
def test_what_announces_too_much_is_refused_behind_a_string_that_ends_otherwise(before: bytes, end: bytes) -> None:
    """hiredis skips the two bytes behind a bulk string, whatever they are."""
    for header, undecoded in product([b"*99999999\r\n", b">99999999\r\n", b"|99999999\r\n"], [False, True]):
        stream = before + end + header
        for size in [1, *range(len(before) + 1, len(before) + 6), len(stream)]:
            if size == 1 and len(before) > 5000:
                continue
            one = Parser(max_reply=3_000_000)
            if undecoded:
                one.undecoded()
            with pytest.raises((ProtocolError, ReplyTooLarge)):
                for start in range(0, len(stream), size):
                    one.feed(stream[start : start + size], start > 0)
                    for _ in one.items():
                        pass


# --- The same cost ---------------------------------------------------------------------------------------------------

#: Bytes that C copies or looks at in the time of one line of Python, about.
BYTES = 64

#: Bytes that hiredis parses in that time, where elements are small.
PARSED = 16


#: Lines of Python in the time that a read takes the event loop with its system calls, at least.
READ = 100

#: Lines that it may take a parser to learn that values look like headers.
LEARN = 800


class Steps:
    """Counts what a parser does: lines of Python, and bytes that are copied or looked at one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._files = {parser.__file__, elements.__file__}
        run, long = elements._run, elements._find_long

        def counted_run(pushes: bool, digits: int) -> Any:
            match = run(pushes, digits)

            def counted(data: bytes, *place: int) -> Any:
                found = match(data, *place)
                assert found is not None
                self.count += (found.end() - found.start()) // BYTES
                return found

            return counted

        def counted_long(data: bytes, start: int, end: int, kind: bytes) -> int:
            self.count += 4 * (end - start) // BYTES
            return long(data, start, end, kind)

        monkeypatch.setattr(elements, "_run", counted_run)
        monkeypatch.setattr(elements, "_find_long", counted_long)

    def parser(self) -> Parser:
        steps = self

        class Counted(Parser):
            def __setattr__(self, name: str, value: Any) -> None:
                if name == "_held":
                    steps.count += len(value) // BYTES
                super().__setattr__(name, value)

        return Counted()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += 1
        return self._step

    def of(self, stream: bytes, size: int, undecoded: bool) -> int:
        one = self.parser()
        if undecoded:
            one.undecoded()
        self.count = 0
        partial = False
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            for start in range(0, len(stream), size):
                one.feed(stream[start : start + size], partial or undecoded)
                if undecoded:
                    for _ in one.items():
                        self.count += 1
                    continue
                partial = False
                while one.has_data():
                    self.count += 2
                    if one.gets(True) is INCOMPLETE:
                        partial = True
                        break
        finally:
            sys.settrace(before)
        return self.count + len(stream) // PARSED + READ * (len(stream) // size)


def fill(text: bytes, size: int, start: int = 0) -> bytes:
    start %= len(text)
    return (text * ((size + start) // len(text) + 1))[start : start + size]


def list_of(items: list[bytes], kind: bytes = b"*", each: int = 1) -> bytes:
    return b"%b%d\r\n" % (kind, len(items) // each) + b"".join(items)


def shape(name: str, text: bytes) -> bytes:
    def value(size: int, number: int = 0) -> bytes:
        return wire(fill(text, size, number))

    match name:
        case "one value":
            return value(400_000)
        case "large values":
            return b"".join(value(150_000, n) for n in range(2))
        case "MGET, small" | "MGET" | "MGET, large":
            size = {"MGET, small": 100, "MGET": 1000, "MGET, large": 10_000}[name]
            return list_of([value(size, n) for n in range(100)])
        case "HGETALL, RESP3" | "HGETALL, RESP2":
            fields = [part for n in range(300) for part in (wire(b"field:%d" % n), value(12, n))]
            return list_of(fields, b"%", 2) * 2 if name == "HGETALL, RESP3" else list_of(fields) * 2
        case "GETs":
            return b"".join(value(32, n) for n in range(1000))
        case "pushes" | "messages":
            kind = b">" if name == "pushes" else b"*"
            return b"".join(list_of([wire(b"message"), wire(b"c"), value(32, n)], kind) for n in range(400))
        case "verbatim strings":
            return b"".join(b"=36\r\ntxt:" + fill(text, 32, n) + b"\r\n" for n in range(400))
        case "XRANGE":
            entry = [[wire(b"1-%d" % n), list_of([wire(b"a"), value(20, n)])] for n in range(300)]
            return list_of([list_of(parts) for parts in entry])
    raise ValueError(name)


SHAPES = [
    "one value",
    "large values",
    "MGET, small",
    "MGET",
    "MGET, large",
    "HGETALL, RESP3",
    "HGETALL, RESP2",
    "GETs",
    "pushes",
    "messages",
    "verbatim strings",
    "XRANGE",
]

#: Every pair of bytes that could begin a header, alone and with digits; and what people store.
HOSTILE = [
    *(b"\n%c" % kind for kind in b"*>~|%$"),
    *(b"\r\n%c%b\r\n" % (kind, count) for kind, count in product(b"*>~|%$", (b"3", b"99999"))),
    *(b"%c" % kind for kind in b"*>~|%$\r\n"),
    b"\r\n$5\r\n*99999\r\n",
    b"*12345 is the number\n",
    b"> quoted mail, as it is\n> answered\n",
    b"% a comment in LaTeX\n",
    b"**bold** and *12345*\n",
]


@pytest.mark.turns(4)
@pytest.mark.parametrize("size", [7, 701, 96 * 1024])
@pytest.mark.parametrize("undecoded", [False, True], ids=["decoded", "undecoded"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "every",
    [6, pytest.param(3, marks=pytest.mark.ci), pytest.param(1, marks=pytest.mark.soak)],
    ids=["each sixth", "each third", "all"],
)
def test_no_value_costs_more_than_plain_text(
    name: str, undecoded: bool, size: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever values hold, they cost at most 1.5 times as many steps: counted, as time depends on the machine.

    Each sixth of the texts, from another one on for each shape: all of them take minutes, under a tracing function.
    """
    if size == 7 and len(shape(name, b"x")) > 30_000:
        pytest.skip("the same with fewer values")
    hostile = (HOSTILE[::5] if size == 7 else HOSTILE)[(SHAPES.index(name) + undecoded) % every :: every]
    steps = Steps(monkeypatch)
    steps.of(shape(name, b"\r\n*99999\r\n"), 10**7, undecoded)  # patterns are compiled, and sizes learnt, once
    plain = steps.of(shape(name, b"x"), size, undecoded)
    costs = {text: steps.of(shape(name, text), size, undecoded) for text in hostile}
    assert max(costs.values()) <= 1.5 * plain + LEARN, (plain, costs)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 12))])
def test_large_reads_that_end_anywhere_in_maps(seed: int) -> None:
    """Reads of all sizes: behind a small one, what precedes a large one is walked over and not copied."""
    choice = random.Random(seed)
    hostile = [b"%2\r\n", b"\n>3\r\n", b"*12345\r\n", b"\r\n%1\r\n$1\r\n", b"$5\r\n%", b"%", b"\r", b""]
    replies: list[Any] = []
    stream = b""
    for _ in range(120):
        pairs = [(b"field:%d" % n, choice.choice(hostile) * choice.randrange(40)) for n in range(choice.randrange(90))]
        replies.append(dict(pairs))
        stream += b"%%%d\r\n" % len(pairs) + b"".join(
            b"$%d\r\n%b\r\n" % (len(text), text) for pair in pairs for text in pair
        )
    reader = Parser()
    found: list[Any] = []
    at = 0
    partial = False
    while at < len(stream):
        size = choice.choice((choice.randrange(1, 50), choice.randrange(1, 3000), choice.randrange(20_000, 200_000)))
        reader.feed(stream[at : at + size], partial)
        at += size
        partial = False
        while reader.has_data():
            reply = reader.gets(False)
            if reply is INCOMPLETE:
                partial = True
                break
            found.append(reply)
    assert found == replies
