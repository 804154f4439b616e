"""The exact data of arguments, whatever their classes say."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any

import pytest

from aioresp.arguments import BITS, WORD, encoded, exact, numeral, plain, word
from tests.spelled import (
    CUT,
    SPELLED,
    Impostor,
    LyingBuffer,
    LyingBytes,
    LyingFloat,
    LyingInt,
    LyingStr,
    strided,
)


class Level(enum.IntEnum):
    HIGH = 5


def released() -> memoryview:
    view = memoryview(b"secret")
    view.release()
    return view


@pytest.mark.parametrize(
    ("argument", "data"),
    [
        ("a", "a"),
        (b"a", b"a"),
        (5, 5),
        (0.5, 0.5),
        (LyingStr("truth"), "truth"),
        (LyingBytes(b"truth"), b"truth"),
        (LyingBuffer(b"truth"), b"truth"),
        (LyingInt(5), 5),
        (LyingFloat(0.5), 0.5),
        (Level.HIGH, 5),
        (bytearray(b"a"), b"a"),
        (memoryview(b""), b""),
        (memoryview(b"abcdef")[::-2], b"fdb"),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        (memoryview(b"\1\0\2\0").cast("H"), b"\1\0\2\0"),
        (memoryview(b"\1\0\2\0\3\0\4\0").cast("H")[::2], b"\1\0\3\0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_has_no_class_of_its_own(argument: Any, data: Any) -> None:
    found = plain(argument)
    assert type(found) in (str, bytes, int, float)
    assert type(found) is type(data)
    assert found == data
    assert exact(("X", argument)) == ("X", data)
    assert encoded(("X", argument))[1] == (
        data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else repr(data).encode()
    )


@pytest.mark.parametrize("spell", SPELLED.values(), ids=SPELLED)
def test_a_word_is_the_same_however_it_is_given(spell: Callable[[str], Any]) -> None:
    assert word(spell("SUBSCRIBE")) == "SUBSCRIBE"
    assert encoded(("X", spell("SUBSCRIBE")))[1].upper() == b"SUBSCRIBE"


@pytest.mark.parametrize("spell", CUT.values(), ids=CUT)
def test_a_word_ends_with_a_zero_byte(spell: Callable[[str], Any]) -> None:
    """As it does to a server that compares it as a C string; what is sent is not cut."""
    assert word(spell("REPLY")) == "REPLY"
    assert encoded(("X", spell("REPLY")))[1] == (
        spell("REPLY").encode() if isinstance(spell("REPLY"), str) else spell("REPLY")
    )


def test_only_ascii_has_cases() -> None:
    """The server does not take the long s for "s", nor the sign of Kelvin for "k"."""
    assert word("\u017fubscribe") == "\u017fUBSCRIBE"
    assert word("bloc\u212a") == "BLOC\u212a"
    assert word("\u0131") == "\u0131"
    assert word("é") == "é"


@pytest.mark.parametrize(
    "argument", [None, True, [], object(), 10**5000, -(10**5000), released(), Impostor(), 1j, ""], ids=lambda a: type(a)
)
def test_what_can_be_no_word_is_none(argument: Any) -> None:
    assert word(argument) == ""


def test_other_words() -> None:
    assert word(5) == "5"
    assert word(0.5) == "0.5"
    assert word("\udc80a") == "?A"
    assert word(b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert word("x" * 10_000) == "X" * WORD
    assert word(b"x" * 10_000) == "X" * WORD


@pytest.mark.parametrize(
    ("argument", "error", "why"),
    [
        (
            None,
            TypeError,
            "is NoneType, not str, bytes, bytearray, memoryview, int or float; Redis has no null: leave it out, delete "
            "the key or field, or choose a value for it",
        ),
        (True, TypeError, "is bool, not str, bytes, bytearray, memoryview, int or float; pass 1 or 0"),
        (
            Impostor(),
            TypeError,
            "is Impostor, not str, bytes, bytearray, memoryview, int or float; convert it, as by str() or json.dumps()",
        ),
        ("secret \udc80", ValueError, "has no UTF-8 form (surrogates not allowed at 7); pass bytes"),
        (LyingStr("secret \udc80"), ValueError, "has no UTF-8 form (surrogates not allowed at 7); pass bytes"),
        (2**BITS, ValueError, "is an int of more than 2048 bits; pass it as str"),
        (LyingInt(-(10**5000)), ValueError, "is an int of more than 2048 bits; pass it as str"),
        (released(), ValueError, "is a memoryview that was released"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("take", [encoded, exact])
def test_what_cannot_be_sent_is_named_and_not_shown(
    take: Callable[[Any], Any], argument: Any, error: type[Exception], why: str
) -> None:
    with pytest.raises(error) as caught:
        take(("set", "k", argument))
    assert str(caught.value) == f"SET: argument 2 {why.replace('float;', 'float (it is the value);')}"
    assert caught.value.__context__ is caught.value.__cause__ is None
    with pytest.raises(error) as caught:
        take((argument, "k"))
    assert str(caught.value) == f"the name of a command {why}"
    assert caught.value.__context__ is caught.value.__cause__ is None


@pytest.mark.parametrize("limit", [640, 4300, 0])
def test_the_largest_int_is_sent_whatever_the_limit_of_digits(limit: int) -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(limit)
    try:
        for value in (2**BITS - 1, 1 - 2**BITS):
            assert exact(("X", value)) == ("X", value)
            assert int(encoded(("X", value))[1]) == value
            assert len(word(value)) == WORD
        with pytest.raises(ValueError, match="X: argument 1"):
            exact(("X", -(2**BITS)))
    finally:
        sys.set_int_max_str_digits(before)


def test_numbers_in_messages() -> None:
    assert numeral(-5) == "-5"
    assert numeral(0.5) == "0.5"
    assert numeral("5") == "'5'"
    assert numeral(10**5000) == numeral(-(10**5000)) == "a huge int"


def test_a_buffer_is_copied() -> None:
    buffer = bytearray(b"abc")
    before = exact(("X", buffer, memoryview(buffer), strided(b"abc")))
    buffer[:] = b"xyz"
    assert before == ("X", b"abc", b"abc", b"abc")
