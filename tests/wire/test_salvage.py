"""Replies that hiredis refuses, in bytes: only the caller of such a reply fails, wherever the stream is cut."""

from __future__ import annotations

import random
import re
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import combinations, pairwise
from types import FrameType
from typing import Any

import pytest

from aioresp.errors import DecodeError, ProtocolError
from aioresp.wire import elements, parser, refused, salvage
from aioresp.wire.parser import Parser
from aioresp.wire.refused import LEVELS
from aioresp.wire.salvage import INCOMPLETE, KEPT

#: What stands for a refused reply.
REFUSED = object()
#: What stands for the end of a broken stream.
BROKEN = object()

BAD = b"(x\r\n"
DEEP = b"*1\r\n" * (LEVELS + 1) + b":1\r\n"

#: Replies of each shape, with the bad element at each place of it.
SHAPES = {
    "alone": BAD,
    "plus sign": b"(+1\r\n",
    "text": b"(not a number: 1\r\n",
    "zero byte": b"(1\x002\r\n",
    "not UTF-8": b"(\xff\r\n",
    "first": b"*3\r\n(x\r\n:1\r\n$1\r\na\r\n",
    "last": b"*3\r\n:1\r\n$1\r\na\r\n(x\r\n",
    "twice": b"*2\r\n(x\r\n(y\r\n",
    "key": b"%1\r\n(x\r\n:1\r\n",
    "value": b"%2\r\n+a\r\n(x\r\n+b\r\n*0\r\n",
    "set": b"~2\r\n(x\r\n*-1\r\n",
    "within": b"*2\r\n*2\r\n%1\r\n+a\r\n~1\r\n(x\r\n_\r\n#t\r\n",
    "scalars behind": b"*6\r\n(x\r\n,1.5\r\n,-inf\r\n=5\r\ntxt:a\r\n-ERR no\r\n(12345678901234567890\r\n",
    "hostile values": b"*4\r\n$10\r\n\r\n(x\r\n*2\r\n\r\n(x\r\n$6\r\n\r\n%1\r\n\r\n%1\r\n$2\r\n>3\r\n$4\r\n\n*9\n\r\n",
    "deep": DEEP,
    "deep, more behind": b"*2\r\n" * (LEVELS + 1) + b":1\r\n" * (LEVELS + 2),
    "deep, empty": b"*1\r\n" * LEVELS + b"*0\r\n",
    "deep maps": b"%1\r\n+k\r\n" * (LEVELS + 1) + b"$1\r\nv\r\n",
    "deep and bad": b"*2\r\n(x\r\n" + DEEP,
}


class Recursive:
    """A reader of its own, without hiredis: any text is a big number, and lists may have any depth."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def replies(self) -> list[Any]:
        found: list[Any] = []
        self.at = 0
        while self.at < len(self.stream):
            self.bad = False
            is_push = self.stream[self.at] == 62
            try:
                value = self.one()
            except IndexError:
                break  # incomplete
            except ValueError:
                found.append(BROKEN)
                break
            if is_push and self.bad:
                found.append(BROKEN)
                break
            found.append(REFUSED if self.bad else value)
        return found

    def line(self) -> bytes:
        end = self.stream.find(b"\r\n", self.at)
        if end < 0:
            raise IndexError
        line, self.at = self.stream[self.at : end], end + 2
        return line

    def one(self) -> Any:
        open_: list[tuple[int, int, list[Any]]] = []
        while True:
            line = self.line()
            kind, rest = line[:1], line[1:]
            if kind in b"*~%>":
                if len(open_) >= LEVELS:
                    self.bad = True
                count = number(rest) * (2 if kind == b"%" else 1)
                value: Any = [] if count >= 0 else None
                if count > 0:
                    open_.append((kind[0], count, value))
                    continue
                if kind == b"%":
                    value = ("map", [])
            else:
                value = self.scalar(kind, rest)
            while open_:
                kind_, count, items = open_[-1]
                items.append(value)
                if len(items) < count:
                    break
                open_.pop()
                value = items
                if kind_ == 37:
                    value = ("map", list(zip(items[::2], items[1::2], strict=True)))
            if not open_:
                return value

    def scalar(self, kind: bytes, rest: bytes) -> Any:
        if b"\r" in rest or b"\n" in rest:
            raise ValueError
        if kind == b"(":
            digits = rest.removeprefix(b"-")
            self.bad |= bool(digits) and not digits.isdigit()
            return rest
        if kind in b"$=":
            size = number(rest)
            if size < 0:
                return None
            if self.at + size + 2 > len(self.stream):
                raise IndexError
            value = self.stream[self.at : self.at + size]
            self.at += size + 2
            if self.stream[self.at - 2 : self.at] != b"\r\n" or (kind == b"=" and value[3:4] != b":"):
                raise ValueError
            return value[4:] if kind == b"=" else value
        if kind == b"+":
            return rest
        if kind == b"-":
            return f"error {rest.decode(errors='replace')}"
        if kind == b":":
            return number(rest)
        if kind == b"," and re.fullmatch(rb"-?[0-9.]+(e[0-9]+)?|-?inf|nan", rest):
            return float(rest)
        if kind == b"#" and rest in (b"t", b"f"):
            return rest == b"t"
        if kind == b"_" and not rest:
            return None
        raise ValueError


def number(said: bytes) -> int:
    if not re.fullmatch(rb"0|-?[1-9][0-9]*", said):
        raise ValueError
    return int(said)


def plain(value: Any) -> Any:
    """Return what can be compared: a map is a list of pairs, whatever its keys are."""
    if isinstance(value, DecodeError):
        return REFUSED
    if isinstance(value, Exception):
        return f"error {value}"
    if isinstance(value, dict):
        value = list(value.items())
    elif not isinstance(value, list):
        return value
    elif not value or type(value[0]) is not tuple:
        return [plain(item) for item in value]
    return ("map", [(plain(key), plain(item)) for key, item in value])


def read(pieces: Iterator[bytes] | list[bytes], by: str = "gets", one: Parser | None = None) -> list[Any]:
    """Return all replies as `Connection` or `Batch` would read them."""
    one = one or Parser()
    found: list[Any] = []
    partial = False
    for piece in pieces:
        one.feed(piece, partial)
        partial = False
        while one.has_data():
            try:
                if by == "gets":
                    value = one.gets(False)
                    if value is INCOMPLETE:
                        partial = True
                        break
                    found.append(plain(value))
                else:
                    taken = one.take(3, False)
                    found += map(plain, taken)
                    if len(taken) < 3:
                        partial = True
                        break
            except ProtocolError as error:
                if not one.recover(error):
                    return [*found, BROKEN]
    return found


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


AROUND = b"+first\r\n%1\r\n+a\r\n:1\r\n", b":7\r\n>2\r\n+x\r\n:1\r\n$3\r\nend\r\n%1\r\n+b\r\n*0\r\n+last\r\n"
FIRST = [b"first", ("map", [(b"a", 1)])]
LAST = [7, [b"x", 1], b"end", ("map", [(b"b", [])]), b"last"]


@pytest.mark.turns(2)
@pytest.mark.parametrize("by", ["gets", "take"])
@pytest.mark.parametrize("name", SHAPES)
def test_only_the_refused_reply_is_lost(name: str, by: str) -> None:
    """Whatever is before and behind it, and wherever the stream is cut."""
    stream = AROUND[0] + SHAPES[name] + AROUND[1]
    expected = [*FIRST, REFUSED, *LAST]
    short = len(stream) < 200
    begin = len(AROUND[0])
    for place in range(len(stream)) if short else [*range(begin + 20), *range(len(stream) - 80, len(stream))]:
        assert read([stream[:place], stream[place:]][place == 0 :], by) == expected, place
    for size in range(1, len(stream) + 1) if short else (1, 2, 3, 5, 7, 61, 1000, 4096, 5000, 10**5):
        assert read(cut(stream, size), by) == expected, size


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.soak)], ids=["each sixteenth", "all"])
@pytest.mark.parametrize("by", ["gets", "take"])
@pytest.mark.parametrize("name", [name for name, reply in SHAPES.items() if len(reply) < 200])
def test_wherever_it_is_cut_twice(name: str, by: str, every: int) -> None:
    """Of all pairs of places, one in so many: each place is the first of some pairs, and the second of others."""
    stream = AROUND[0] + SHAPES[name] + AROUND[1]
    expected = [*FIRST, REFUSED, *LAST]
    for first, second in combinations(range(1, len(stream)), 2):
        if (first + 3 * second) % every == 0:
            assert read([stream[:first], stream[first:second], stream[second:]], by) == expected, (first, second)


def test_a_second_refusal_is_walked_from_its_own_boundary() -> None:
    """The place of the first refused reply is that of bytes that the reader before held."""
    pieces = [
        b"%1\r\n+a\r\n(x\r\n",
        b"*3\r\n$3\r\nab",
        b"c\r\n%1\r\n+k\r\n$30\r\n" + b"x" * 10,
        b"x" * 20 + b"\r\n(y\r\n:1\r\n",
    ]
    assert read(pieces) == [REFUSED, REFUSED, 1]


@pytest.mark.parametrize("size", [1000, 96 * 1024, 10**7])
@pytest.mark.parametrize("name", ["alone", "within", "deep", "hostile values"])
def test_large_replies_around_the_bad_element(name: str, size: int) -> None:
    """More than 64 KiB before and behind it in the same reply, and a large reply before that one."""
    inner = SHAPES[name]
    fill = b"".join(b"$%d\r\n%b\r\n" % (4 * n, b"\r\n*2\r\n%1"[n % 8 :][:1] * (4 * n)) for n in range(300))
    assert len(fill) > 100_000
    reply = b"*601\r\n" + fill + inner + fill
    good = b"*600\r\n" + fill * 2
    stream = b"+a\r\n" + good + reply + b"+b\r\n" + good + reply * 2 + good + b":1\r\n"
    found = read(cut(stream, size))
    assert [value if type(value) is not list else len(value) for value in found] == [
        *(b"a", 600, REFUSED),
        *(b"b", 600, REFUSED, REFUSED, 600, 1),
    ]


# --- Any stream ------------------------------------------------------------------------------------------------------

TEXTS = [b"", b"(x\r\n", b"\r\n(x\r\n", b"\r\n%1\r\n", b"*12345\r\n", b"\r", b"\n", b"(", b"a" * 99, b"\n>1\n" * 300]
SCALARS = [
    *(b"$%d\r\n%b\r\n" % (len(text), text) for text in TEXTS),
    *(
        b":1\r\n",
        b":-7\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b",inf\r\n",
        b"(123\r\n",
        b"(\r\n",
        b"(-\r\n",
        b"$-1\r\n",
    ),
    *(b"+OK\r\n", b"-ERR no\r\n", b"*-1\r\n", b"=5\r\ntxt:(\r\n", b"*0\r\n", b"%0\r\n", b"+\r\n", b",1e5\r\n"),
]
BADS = [b"(x\r\n", b"(1 2\r\n", b"(+\r\n", b"(\xff\x00\r\n", b"(" + b"y" * 700 + b"\r\n"]


class Server:
    """A server that sends anything a script can make."""

    def __init__(self, seed: int) -> None:
        self.choice = random.Random(seed)

    def reply(self, bad: float, level: int = 0) -> bytes:
        choice = self.choice
        if level < 4 and choice.random() < 0.4:
            kind = choice.choice(b"**~%")
            count = choice.choice((1, 1, 2, 3, 5, 16, 17, 18, 40)) if level < 2 else choice.randrange(1, 5)
            parts = 2 * count if kind == 37 else count
            return b"%c%d\r\n" % (kind, count) + b"".join(self.reply(bad, level + 1) for _ in range(parts))
        if choice.random() < bad:
            return DEEP if choice.random() < 0.03 else choice.choice(BADS)
        return choice.choice(SCALARS)

    def stream(self) -> bytes:
        choice = self.choice
        kinds = choice.choice(((0.0, 0.0, 0.05), (0.0, 0.2), (1.0, 0.0), (0.01,)))
        parts = [self.reply(choice.choice(kinds)) for _ in range(choice.randrange(1, 12))]
        if choice.random() < 0.3:
            parts.insert(choice.randrange(len(parts)), b">2\r\n+x\r\n$4\r\n(x\r\n\r\n")
        return b"".join(parts)

    def cut(self, stream: bytes) -> list[bytes]:
        choice = self.choice
        if choice.random() < 0.5:
            sizes = (1, 2, 3, 7, 30, 300, 5000, 10**6) if len(stream) < 5000 else (500, 5000, 10**6)
            return cut(stream, choice.choice(sizes))
        ends = sorted({0, len(stream), *(choice.randrange(len(stream) + 1) for _ in range(choice.randrange(8)))})
        return [stream[a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize("by", ["gets", "take"])
@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(50, 400, 50))])
def test_the_same_as_a_reader_that_takes_anything(first: int, by: str) -> None:
    refused = 0
    for seed in range(first, first + 50):
        server = Server(seed)
        stream = server.stream()
        expected = Recursive(stream).replies()
        assert BROKEN not in expected
        assert read(server.cut(stream), by) == expected, seed
        refused += expected.count(REFUSED)
    assert refused > 25


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.ci) for first in range(100, 600, 100))])
def test_what_is_broken_elsewhere_is_never_taken_for_more_than_it_is(first: int) -> None:
    """One byte is lost, doubled or changed: the replies are those of a reader without hiredis, or the stream ends."""
    ended = went_on = 0
    for seed in range(first, first + 100):
        server = Server(seed)
        stream = server.stream()[:3000]
        for _ in range(5):
            place = server.choice.randrange(len(stream))
            byte = stream[place : place + 1]
            spoiled = (
                stream[:place] + server.choice.choice((b"", byte * 2, b"(", b"x", b"\r", b"2")) + stream[place + 1 :]
            )
            found = read(server.cut(spoiled))
            expected = Recursive(spoiled).replies()
            assert BROKEN not in found[:-1]
            if BROKEN in found:
                ended += 1
                found.pop()
            else:
                went_on += 1
                found = found[: len(expected)] if BROKEN in expected else found
            if found != expected[: len(found)]:
                # hiredis skips two bytes behind a string, whatever they are; nothing is salvaged behind such.
                same = next(n for n, (a, b) in enumerate(zip(found, [*expected, BROKEN], strict=False)) if a != b)
                assert BROKEN in expected[: same + 1], (seed, place)
                assert REFUSED not in found[same:], (seed, place)
    assert ended > 50
    assert went_on > 50


# --- The cost --------------------------------------------------------------------------------------------------------


class Lines:
    """Counts the lines of Python that run in the parser and beside it."""

    def __init__(self, *modules: Any) -> None:
        self.count = 0
        self._files = {module.__file__ for module in modules}

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._step if frame.f_code.co_filename in self._files else None

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += event == "line"
        return self._step

    def of(self, stream: bytes, size: int) -> int:
        self.count = 0
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            read(cut(stream, size))
        finally:
            sys.settrace(before)
        return self.count


@pytest.mark.parametrize("size", [700, 96 * 1024])
def test_without_a_refusal_there_is_a_note_of_each_read_and_no_more(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "Walk", None)
    stream = b"".join(b"*3\r\n$1\r\na\r\n$7\r\n(%05d\n\r\n:%d\r\n(%d\r\n" % (n, n, n) for n in range(20_000))
    assert Lines(salvage).of(stream, size) <= 15 * (len(stream) // size + 1)


def test_many_refusals_cost_the_same_each() -> None:
    """However many of them arrive in one read, and whatever is between them."""
    for between in (b"", b"+OK\r\n", b"$3000\r\n" + b"\r\n%1" * 750 + b"\r\n"):
        each = []
        for times in (50, 400):
            stream = (BAD + between) * times
            each.append(Lines(salvage, refused, parser, elements).of(stream, 96 * 1024) / times)
        assert each[1] < 600, each
        assert each[1] < 1.3 * each[0], each


def test_a_refused_reply_that_goes_on_keeps_nothing() -> None:
    """However long it is, and however many levels it has."""
    piece = b"*2\r\n" * 2000 + b"$90000\r\n" + b"x" * 90_000 + b"\r\n" + b":1\r\n" * 1999
    stream = b"*1001\r\n(x\r\n" + piece * 40
    one = Parser()
    one.feed(b"+OK\r\n" + stream[:100], False)
    assert one.gets(False) == b"OK"
    with pytest.raises(ProtocolError, match="Bad bignum value") as caught:
        one.gets(False)
    assert one.recover(caught.value)
    tracemalloc.start()
    try:
        for at in range(100, len(stream), 96 * 1024):
            one.feed(stream[at : at + 96 * 1024], True)
            assert one.gets(False) is INCOMPLETE
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert one.waiting < 1024


def test_no_more_is_kept_than_said() -> None:
    """Behind so many bytes without a known boundary, a refusal ends the stream; behind the next one it does not."""
    one = Parser()
    reply = b"*2\r\n$%d\r\n%b\r\n(x\r\n"
    size = KEPT + 100_000
    stream = reply % (size, b"x" * size)
    tracemalloc.start()
    try:
        one.feed(stream[:10], False)
        one.gets(False)
        for at in range(10, KEPT, 1000):
            one.feed(stream[at : at + 1000], True)
        assert tracemalloc.get_traced_memory()[0] < 2.5 * KEPT  # hiredis has its own copy, which is not traced
    finally:
        tracemalloc.stop()
    assert read([stream]) == [REFUSED]  # in one read
    assert read(cut(stream, 96 * 1024)) == [BROKEN]
    size -= 200_000
    assert read(cut(reply % (size, b"x" * size), 96 * 1024)) == [REFUSED]
    good = b"$%d\r\n%b\r\n" % (2 * KEPT, b"y" * 2 * KEPT)
    assert read([*cut(good, 96 * 1024), BAD, b":1\r\n"])[1:] == [REFUSED, 1]


def test_a_refused_push_ends_the_stream() -> None:
    for push in (b">1\r\n(x\r\n", b">2\r\n+x\r\n" + DEEP):
        assert read([b"+OK\r\n" + push + b":1\r\n"]) == [b"OK", BROKEN]


@pytest.mark.parametrize(
    "behind",
    [
        b"!",
        b"$1\r\nab\r\n",
        b":01\r\n",
        b"$-2\r\n",
        b"*99999999999\r\n",
        b">1\r\n:1\r\n",
        b"+a\rb\r\n",
        b"#x\r\n",
        b"=2\r\nab\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_what_is_not_resp_behind_the_bad_element_ends_the_stream(behind: bytes, size: int) -> None:
    stream = b"+OK\r\n*3\r\n(x\r\n" + behind + b":1\r\n:2\r\n:3\r\n" + b"+" + b"x" * 400 + b"\r\n"
    assert read(cut(stream, size)) == [b"OK", BROKEN]
