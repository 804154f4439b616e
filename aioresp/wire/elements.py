"""Element boundaries of a RESP stream, found by the lengths that the stream itself announces.

Owns the walk over elements: contents are skipped by their length, so none costs more than another. Never touches
hiredis, and never keeps any part of the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

from aioresp.typed import Enum

#: Digits of a count from which on the header of a list is checked before hiredis sees it. For a list hiredis reserves
#: room at once, which the garbage collector walks through; for a push it even fills that room.
LONG: Final = 5

#: Bytes of a header that may be without an end.
LONG_HEADER: Final = 32

#: Number of bytes left of an element that is a line: its end is not known.
IN_LINE: Final = -1

#: Stop of a walk at bytes that are not an element.
LOST: Final = -1

#: Most first bytes of headers that are looked at one by one.
TRIES: Final = 16

#: Most bytes of a read that is searched whole: that takes less time than the read itself.
SMALL: Final = 8192

#: Bytes between two of them at which a look at each costs nothing in comparison.
SPARSE: Final = 1024

#: Bytes between two of them above which a pattern takes less time than a translation of all bytes.
APART: Final = 128

#: Result of a search that met too many first bytes of headers, some of them in values.
TOO_MANY: Final = -1

#: First bytes of headers, each with the number of digits from which on it is searched for.
Lists: TypeAlias = tuple[tuple[bytes, int], ...]

#: Bytes that are walked over after bytes that looked like a header and were not one.
DOUBT: Final = 512 * 1024

#: Most bytes behind the last known boundary that are held again with each read.
NEAR: Final = 2048

#: Bytes to be copied for which a walk over one byte pays.
MUCH: Final = 16

#: Bytes that are kept before the parser finds out where the last element begins.
KEEP: Final = 64 * 1024

#: First bytes of headers for which hiredis reserves room, each with the digits from which on it is checked. Pushes are
#: always checked (see `Parser`), unless nothing is decoded. They come first: bytes behind one need no search then.
CARE: Final[Lists] = ((b">", 0), (b"*", LONG), (b"~", LONG), (b"|", LONG))
CARE_UNDECODED: Final[Lists] = ((b">", LONG), *CARE[1:])

#: Number of bulk strings of three digits, or of first bytes in a small read, that are looked at one by one.
FEW: Final = 4

#: The sizes of bulk strings by their headers, for lengths of four digits, as they are met.
_SIZES: Final[dict[bytes, int]] = {}

_digits = 2  # most digits of a length in the pattern; 3 once such lengths are met often

LINES: Final = b"+-:,#_("
_DIGITS: Final = b"0123456789"
_IN_COUNT: Final = _DIGITS + b"-\r"
_DIGITS_ALIKE: Final = bytes.maketrans(_DIGITS, b"0" * 10)
_MESSAGE: Final = b"3\r\n$7\r\nmessage\r\n"
_COUNTS: Final = b"*~|>%"
COUNTED: Final = b"$=*~|>%"


class Finding(Enum):
    """Way in which a parser finds the headers that need care."""

    SEARCH = "by their first bytes"
    WALK = "by the lengths of the elements before them"
    ASTRAY = "by their first bytes, as the lengths make no sense"


SEARCH: Final = Finding.SEARCH
WALK: Final = Finding.WALK
ASTRAY: Final = Finding.ASTRAY

#: Result of a walk. First the last known boundary. Then the stop: a header that has to be checked, the end, or `LOST`.
#: Last the number of bytes behind the data that belong to the last element, or `IN_LINE`.
Walked: TypeAlias = tuple[int, int, int]


def _bulk(number: str, digits: int) -> str:
    """Return a pattern of the rest of bulk strings whose length begins with `number`, as a tree of digits."""
    leaf = rf"\r\n.{{{int(number) + 2}}}+" if number else ""
    if number == "0" or len(number) == digits:
        return leaf
    branches = [digit + _bulk(number + digit, digits) for digit in "0123456789"]
    return f"(?:{'|'.join([leaf, *branches] if leaf else branches)})"


@cache
def _run(pushes: bool, digits: int) -> Callable[..., re.Match[bytes] | None]:
    """Return a pattern for a run of complete elements that need no check, with lengths of so many digits.

    Stepping over each element in Python would take several times as long as hiredis takes to parse it. The pattern
    takes half as long as hiredis. It is compiled at the first use, in 2 ms for two digits and in 20 ms for three.
    """
    bulk = _bulk("", digits)
    pattern = (
        rf"(?:(?:\${bulk})++"
        rf"|[{'*~|>' if pushes else '*~|'}](?:0|-1|[1-9][0-9]{{0,{LONG - 2}}})\r\n"
        r"|[+:,#_(\-][^\r]*+\r\n|\$-1\r\n"
        rf"|={_bulk('', 2)})*+"
    )
    return re.compile(pattern.encode(), re.DOTALL).match


def _in_nested_lists(data: bytes, boundary: int, kind: bytes, pushes: bool) -> bool:
    """Return whether the next few bytes of this kind are each the first of a header, as `walk` would find."""
    if boundary < 0:
        return False  # the boundary is not known
    run = _run(pushes, 2)
    at = found = boundary
    for _ in range(FEW):
        found = data.find(kind, found)
        match = run(data, at, found) if found >= 0 else None
        if match is None or match.end() != found:
            return False
        at = found
        found += 1
    return True


def walk(data: bytes, start: int, fed: int, pushes: bool) -> Walked:
    """Go from the boundary `start` to the first header at `fed` or behind it that has to be checked.

    `pushes` tells that short pushes need no check.
    """
    global _digits
    run = _run(pushes, _digits)
    longer = 0
    end = len(data)
    at = start
    while True:
        match = run(data, at)
        assert match is not None  # it may be empty
        at = match.end()
        while (size := _SIZES.get(data[at : at + 7])) and at + size <= end:
            at += size
        if at >= end:
            return (end, end, 0)
        kind = data[at]
        if kind in LINES:
            line = data.find(b"\r\n", at)
            if line < 0:
                return (at, end, IN_LINE)
            at = line + 2
            continue
        line = data.find(b"\r\n", at, at + LONG_HEADER)
        if kind in _COUNTS and at >= fed:
            return (at, at, 0)
        if line < 0:
            wrong = kind not in COUNTED or end - at >= LONG_HEADER or data[at + 1 :].strip(_IN_COUNT)
            return (at, LOST if wrong else end, 0)
        count = data[at + 1 : line]
        if kind not in COUNTED or not ((count.isdigit() and (count[0] != 48 or count == b"0")) or count == b"-1"):
            return (at, LOST, 0)
        if kind in _COUNTS or count == b"-1":
            at = line + 2
            continue
        if len(count) == 3:
            longer += 1
            if longer == FEW:
                _digits = 3
                run = _run(pushes, 3)
        elif len(count) == 4:
            _SIZES[data[at : at + 7]] = int(count) + 9
        at = line + 4 + int(count)
        if at > end:
            return (end, end, at - end)


def find_list(data: bytes, start: int, lists: Lists, boundary: int, pushes: bool, tries: int = TRIES) -> int:
    """Return the first place where the header of a push, of a long list, or of a cut list may begin; or the end.

    The cost does not depend on the bytes of values. At most `tries` first bytes of headers are looked at one by one,
    unless they are far apart. If there are more, the rest of a small read is searched at a fixed cost. So is a large
    read if the walk from `boundary` finds that they are headers, as in nested lists. Otherwise this returns `TOO_MANY`.
    """
    nearest = len(data)
    small = nearest <= SMALL
    for kind, digits in lists:
        first = found = data.find(kind, start, nearest)
        left = FEW if small and digits else tries
        while found >= 0:
            if not data[found + 1 : found + 1 + LONG].strip(_DIGITS) or (
                not digits and (not found or data[found - 1] == 10)
            ):
                nearest = found
                break
            left -= 1
            found = data.find(kind, found + 1, nearest)
            if left < 0 and 0 <= found < first - left * SPARSE:
                if not digits or (not small and not _in_nested_lists(data, boundary, kind, pushes)):
                    return TOO_MANY
                nearest = _find_long(data, found, nearest, kind)
                break
    return nearest


def find_map(data: bytes, start: int, fed: int, last: int, tries: int) -> int:
    """Return the first place where a map may begin; as in `find_list`, the cost does not depend on values.

    `last` is the byte before the one at `fed`, which may not be in the data.
    """
    found = start - 1
    for _ in range(tries):
        found = data.find(b"%", found + 1)
        if found < 0:
            return len(data)
        if found == fed:
            if last == 10:
                return found
        elif data[max(0, found - 2) : found] == b"\r\n" or (found == 1 and last == 13 and data[0] == 10):
            return found
    return TOO_MANY if found >= 0 else len(data)


@cache
def _long(kind: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"%b(?:[0-9]{%d}|[0-9]{0,%d}\Z)" % (re.escape(kind), LONG, LONG - 1))


def _find_long(data: bytes, start: int, end: int, kind: bytes) -> int:
    """Return the first place where a header with a long count, or a cut header, begins; or the end."""
    message = kind + _MESSAGE
    if data.startswith(message, start):
        # Many messages often come in a row: counting them takes less time than searching them.
        last = data.rfind(kind, start, end)
        if data.count(kind, start, last) == data.count(message, start, last):
            start = last
    if (end - start) > APART * data.count(kind, start, end):
        match = _long(kind).search(data, start, end)
        return end if match is None else match.start()
    alike = data[start:end].translate(_DIGITS_ALIKE)
    found = alike.find(kind + b"0" * LONG)
    if found < 0:
        last = alike.rfind(kind, -LONG)
        found = last if last >= 0 and not alike[last + 1 :].strip(b"0") else -1
    return end if found < 0 else start + found
