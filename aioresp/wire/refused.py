"""Walk over a reply that hiredis refuses, to its end.

Owns what hiredis refuses of what scripts can return, and what it takes for certain. Never guesses: a walk that meets
anything else is lost. Never imported before hiredis has refused a reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Final

from aioresp.wire.announced import MOST_PARTS
from aioresp.wire.elements import LONG_HEADER
from aioresp.wire.faults import Lost

#: Levels of lists from which on hiredis refuses another one.
LEVELS: Final = 1024

#: Most levels that are walked through.
DEEPEST: Final = 1_000_000

#: Most bytes of a number, which hiredis limits, too.
NUMBER: Final = 325

#: Scalars that one match of a pattern steps over; one by one they take ten times as long.
MANY: Final = 16

#: What scripts can return and hiredis refuses: the words of hiredis, and ours.
BIG_NUMBER: Final = "Bad bignum value", "a big number that is not made of digits"
DEPTH: Final = "Max nesting depth exceeded", f"lists in more than {LEVELS:,} levels"

_COUNTED: Final = b"*~%>"
_TEXTS: Final = b"+-("
_NUMBERS: Final = b":,_#"
_SIZED: Final = b"$="
_VERBATIM: Final = 61
_PUSH: Final = 62
_BIG: Final = 40
_MAP: Final = 37
_COUNT: Final = re.compile(rb"0|-1|[1-9][0-9]{0,15}").fullmatch
_DIGITS: Final = re.compile(rb"-?[0-9]*").fullmatch
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch
_DOUBLE: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?").fullmatch
_NO_DOUBLE: Final = frozenset({b"inf", b"-inf", b"nan", b"-nan"})


#: Short headers of lists, each with the number of its elements.
_SHORT: Final = {
    b"%c%d\r\n" % (kind, count): count * (2 if kind == _MAP else 1) for kind in b"*~%" for count in range(1, 10)
}


def _bulk(number: str) -> str:
    leaf = rf"\r\n.{{{number}}}\r\n" if number else ""
    if number == "0" or len(number) == 2:
        return leaf
    branches = "|".join(digit + _bulk(number + digit) for digit in "0123456789")
    return f"(?:{leaf}|{branches})" if leaf else f"(?:{branches})"


@cache
def _scalars(times: str) -> Callable[..., re.Match[bytes] | None]:
    """Return a pattern for so many scalars that hiredis takes for certain, as `Walk` would find. It takes 3 ms."""
    pattern = (
        rf"(?>\${_bulk('')}|\$-1\r\n|[+\-][^\r\n]*+\r\n|:(?:0|-?[1-9][0-9]{{0,17}})\r\n"
        rf"|_\r\n|\#[tf]\r\n|,-?[0-9]{{1,15}}(?:\.[0-9]{{1,17}})?\r\n|\(-?[0-9]*+\r\n){times}"
    )
    return re.compile(pattern.encode(), re.DOTALL).match


class Walk:
    """Walk from a boundary on to the end of the first reply that hiredis refuses.

    It steps from element to element by counts and lengths, like hiredis, but is stricter: a string must end where its
    length says, and a refused line has no line break. An element may be cut anywhere.
    """

    __slots__ = ("_cut", "_in_line", "_is_push", "_left", "_levels", "why")

    def __init__(self) -> None:
        self.why: tuple[str, str] | None = None
        """The reason of the refusal; None until it is found."""
        self._levels: list[int] = []  # the elements to come of each list that the walk is in
        self._left = 0  # bytes to come of the string that is here in part, with its line end
        self._in_line = False  # set in a line of text that is here in part, cleared at its end
        self._cut = b""  # the first bytes of a header or number that is here in part, or of a line end
        self._is_push = False

    def go(self, data: bytes) -> int:
        """Walk over the next bytes; return where the refused reply ends, or -1 if it goes on. Raises Lost."""
        before = len(self._cut)
        if before:
            data = self._cut + data
            self._cut = b""
        at = self._resume(data)
        levels = self._levels
        end = len(data)
        while at >= 0:
            if not levels:
                if self.why:
                    return at - before
                at = _end_of(_scalars("*+")(data, at), at)
            while levels and levels[-1] > MANY and (match := _scalars("{16}+")(data, at)):
                at = match.end()
                levels[-1] -= MANY
            if at == end:
                break
            if levels and (match := _scalars("")(data, at)):
                at = self._end(match.end())
            elif (count := _SHORT.get(data[at : at + 4])) and 0 < len(levels) < (DEEPEST if self.why else LEVELS):
                levels.append(count)
                at += 4
            else:
                at = self._step(data, at)
        return -1

    def _resume(self, data: bytes) -> int:
        """Return where the element ends that began before the data; -1 if it goes on."""
        if self._in_line:
            return self._text(data, 0)
        return self._string(data, 0, self._left) if self._left else 0

    def _step(self, data: bytes, at: int) -> int:
        """Walk over one element, or one header of a list; return where it ends, or -1 if it goes on."""
        kind = data[at]
        if kind in _TEXTS:
            if not self._levels:
                self._is_push = False
            behind = self._text(data, at + 1)
            if kind == _BIG and behind >= 0 and not _DIGITS(data, at + 1, behind - 2):
                self._refuse(BIG_NUMBER)
            return behind
        if kind in _COUNTED:
            if not self._levels:
                self._is_push = kind == _PUSH
            elif kind == _PUSH:
                raise Lost
            if len(self._levels) >= LEVELS:
                self._refuse(DEPTH)
        elif kind not in _NUMBERS and kind not in _SIZED:
            raise Lost
        line = data.find(b"\r\n", at, at + NUMBER + 3)
        if line < 0:
            if len(data) - at > (NUMBER if kind in _NUMBERS else LONG_HEADER):
                raise Lost
            self._cut = data[at:]
            return -1
        said = data[at + 1 : line]
        if kind in _NUMBERS:
            if not _is_number(kind, said):
                raise Lost
            return self._end(line + 2)
        if not _COUNT(said):
            raise Lost
        count = int(said)
        if kind in _SIZED:
            if kind == _VERBATIM and (0 <= count < 4 or data[line + 5 : line + 6] not in (b":", b"")):
                raise Lost
            return self._end(line + 2) if count < 0 else self._string(data, line + 2, count + 2)
        if kind == _MAP:
            count *= 2
        if count <= 0:
            return self._end(line + 2)
        if count > MOST_PARTS or len(self._levels) >= DEEPEST:
            raise Lost
        self._levels.append(count)
        return line + 2

    def _refuse(self, why: tuple[str, str]) -> None:
        if self._is_push:
            raise Lost  # no caller waits for it
        self.why = self.why or why

    def _text(self, data: bytes, at: int) -> int:
        """Walk over the rest of a line of text; return where it ends, or -1 if it goes on."""
        end = data.find(b"\r", at)
        if data.find(b"\n", at, end if end >= 0 else len(data)) >= 0:
            raise Lost
        self._in_line = not 0 <= end < len(data) - 1
        if self._in_line:
            self._cut = b"\r" if end >= 0 else b""
            return -1
        if data[end + 1] != 10:
            raise Lost
        return self._end(end + 2)

    def _string(self, data: bytes, at: int, size: int) -> int:
        """Walk over a string whose rest has `size` bytes; return where it ends, or -1 if it goes on."""
        end = at + size
        self._left = max(0, end - len(data))
        if self._left > 1:
            return -1
        if self._left:
            self._left = 2 if data[-1:] == b"\r" else 0
            self._cut = b"\r"
            if not self._left:
                raise Lost
            return -1
        if data[end - 2 : end] != b"\r\n":
            raise Lost
        return self._end(end)

    def _end(self, at: int) -> int:
        """Note the end of an element, which may be that of the lists it is in."""
        levels = self._levels
        while levels:
            levels[-1] -= 1
            if levels[-1]:
                break
            levels.pop()
        return at


def _end_of(match: re.Match[bytes] | None, at: int) -> int:
    return at if match is None else match.end()


def _is_number(kind: int, said: bytes) -> bool:
    """Return whether hiredis takes the line for certain."""
    match chr(kind):
        case ":":
            return bool(_INTEGER(said)) and -(1 << 63) <= int(said) < 1 << 63
        case ",":
            if said in _NO_DOUBLE:
                return True
            if not _DOUBLE(said):
                return False
            number = float(said)
            is_zero = not said.lower().partition(b"e")[0].strip(b"-.0")
            return is_zero or (isfinite(number) and number != 0)
        case "_":
            return not said
    return said in (b"t", b"f", b"T", b"F")
