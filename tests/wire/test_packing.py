"""`protocol` against wire forms that other clients and the specification collected, and against any split of bytes."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioresp.errors import ProtocolError, ResponseError
from aioresp.wire.packing import CHUNK, INCOMPLETE, Parser, Push, pack, unpack
from tests.cases import cases
from tests.fuzz.target import examples
from tests.spelled import CUT, SPELLED, Impostor, LyingFloat, LyingInt

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "data" / "resp_vectors.json").read_text())

Outcome = tuple[Any, str]

DIGITS = "a big number comes as its digits: hiredis has no Python integer for it; typed methods make it one"
PLUS = "an explicit plus sign is refused as a protocol error: no server sends one"
BULK_ERROR = "bulk errors are refused as a protocol error: no server sends one"
ATTRIBUTE = "an attribute comes out as a reply: no server sends one unless told to by DEBUG PROTOCOL, which is refused"

ERROR: Outcome = ([], "error")

#: Where the parser does not do what the vector expects: why, and what comes out instead.
DEVIATIONS: dict[str, tuple[str, Outcome]] = {
    **dict.fromkeys(("int_plus_one", "double_plus_1"), (PLUS, ERROR)),
    "bignum_spec": (DIGITS, ([b"3492890328409238509324850943850943825024385"], "clean")),
    "bignum_negative": (DIGITS, ([b"-654333333333333333366546456546123135646"], "clean")),
    "bignum_2_128": (DIGITS, ([b"340282366920938463463374607431768211456"], "clean")),
    "bignum_zero": (DIGITS, ([b"0"], "clean")),
    "bignum_minus_one": (DIGITS, ([b"-1"], "clean")),
    "bignum_5000_digits": (DIGITS, ([b"9" * 5000], "clean")),
    "bignum_bad_empty": (DIGITS, ([b""], "clean")),
    "all_types_in_array_no_bloberror": (
        DIGITS,
        ([[None, False, 0, b"0", 0.0, b"", b"", b"", ("error", ""), [], [], {}]], "clean"),
    ),
    **dict.fromkeys(
        (
            "incomplete_blob_error",
            "blob_error_spec",
            "blob_error_foo",
            "blob_error_empty",
            "blob_error_crlf",
            "blob_error_in_array",
            "blob_error_non_utf8",
            "all_types_in_array",
        ),
        (BULK_ERROR, ERROR),
    ),
    "incomplete_attr_without_reply": (ATTRIBUTE, ([[b"ttl", 3600]], "clean")),
    "attr_outer_spec": (
        ATTRIBUTE,
        ([[b"key-popularity", {b"a": 0.1923, b"b": 0.0012}], [2039123, 9543892]], "clean"),
    ),
    "attr_inner_spec": (ATTRIBUTE, ([[1, 2, [b"ttl", 3600]], 3], "clean")),
    "attr_empty": (ATTRIBUTE, ([[], b"OK"], "clean")),
    "attr_then_two_replies": (ATTRIBUTE, ([[b"ttl", 3600], 1, 2], "clean")),
    "attr_in_map_value": (ATTRIBUTE, ([{b"k": [b"ttl", 1]}, 7], "clean")),
    "attr_before_map_key": (ATTRIBUTE, ([[([b"ttl", 1], b"k")], 7], "clean")),
    "attr_in_set": (ATTRIBUTE, ([[1, [b"a", 1]], 2], "clean")),
    "attr_before_error": (ATTRIBUTE, ([[b"a", 1], ("error", "ERR x")], "clean")),
    "attr_before_push": (ATTRIBUTE, ([[b"a", 1], ("push", [b"message", b"x"])], "clean")),
    "attr_two_in_a_row": (ATTRIBUTE, ([[b"a", 1], [b"b", 2], b"OK"], "clean")),
    "attr_nested_in_attr": (ATTRIBUTE, ([[b"a", [b"b", 2]], 1, b"OK"], "clean")),
    "attr_list_key": (ATTRIBUTE, ([[[1], 2], b"OK"], "clean")),
}


def meant(v: dict[str, Any]) -> Any:
    """Return the Python value that a vector's value stands for, in the form `plain` has it."""
    kind = v["type"]
    value: Any = v.get("value")
    if "b64" in v:
        value = base64.b64decode(v["b64"])
    match kind:
        case "simple" | "blob" | "verbatim":
            return value.encode() if isinstance(value, str) else value
        case "error" | "bloberror":
            return ("error", value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
        case "double":
            return float(value)
        case "bignum":
            return value if len(value) > 4000 else int(value)
        case "array" | "set":
            return [meant(item) for item in value]
        case "push":
            return ("push", [meant(item) for item in value])
        case "map":
            return [(meant(key), meant(item)) for key, item in value]
        case _:
            return value


def plain(value: Any) -> Any:
    """Return a parsed value in a form that shows what `==` alone would hide: errors, pushes, the order of maps."""
    if isinstance(value, ResponseError):
        return ("error", value.args[0])
    if isinstance(value, Push):
        return ("push", [plain(item) for item in value])
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(plain, value))  # of a map that no dict can hold
    if isinstance(value, dict):
        return [(plain(key), plain(item)) for key, item in value.items()]
    return value


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, type for type; nan equals nan."""
    if isinstance(one, dict):
        one = [(key, item) for key, item in one.items()]
    if isinstance(other, dict):
        other = [(key, item) for key, item in other.items()]
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def parse(chunks: Iterable[bytes]) -> Outcome:
    parser = Parser()
    values: list[Any] = []
    partial = False
    for chunk in filter(None, chunks):  # nobody ever receives no bytes
        parser.feed(chunk, partial)
        partial = False
        while parser.has_data():
            try:
                value = parser.gets(False)
            except Exception as error:
                return values, "error" if isinstance(parser.broken(error), ProtocolError) else repr(error)
            if value is INCOMPLETE:
                partial = True
                break
            values.append(plain(value))
    # Only at the boundary of a frame is what comes next a reply of its own.
    parser.feed(b"+PONG\r\n", partial)
    try:
        clean = parser.gets(False) == b"PONG"
    except Exception:
        clean = False
    assert clean != partial
    return values, "clean" if clean else "incomplete"


def allowed(vector: dict[str, Any]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for form in (vector["expect"], *vector.get("also_ok", ())):
        values = form["values"]
        outcomes.append((values if isinstance(values, str) else [meant(v) for v in values], form["end"]))
    return outcomes


def fits(outcome: Outcome, wanted: Outcome) -> bool:
    if isinstance(wanted[0], str):  # a very deep value, told in words
        return outcome[1] == wanted[1]
    return outcome[1] == wanted[1] and same(outcome[0], wanted[0])


@pytest.mark.quick
@cases("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    wire = base64.b64decode(vector["wire"])
    whole = parse([wire])
    name = vector["name"]
    if name in DEVIATIONS:
        reason, deviant = DEVIATIONS[name]
        assert not any(fits(whole, wanted) for wanted in allowed(vector)), f"no deviation any more: {reason}"
        assert fits(whole, deviant), (reason, whole)
    else:
        assert any(fits(whole, wanted) for wanted in allowed(vector)), whole
    if "huge" in vector.get("tags", ()):
        return  # each attempt may take its length of address space
    step = max(1, len(wire) // 300)
    for cut in range(1, len(wire), step):
        assert fits(parse([wire[:cut], wire[cut:]]), whole), cut
    if len(wire) < 5000:
        assert fits(parse(wire[i : i + 1] for i in range(len(wire))), whole)


def test_deviations_are_all_vectors() -> None:
    assert DEVIATIONS.keys() <= {v["name"] for v in VECTORS}


# --- Any stream, split anywhere --------------------------------------------------------------------------------------

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=40),
)
replies = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.binary(max_size=8), inner, max_size=5),
    ),
    max_leaves=12,
)


def wire(value: Any) -> bytes:
    if value is None:
        return b"_\r\n"
    if isinstance(value, bool):
        return b"#t\r\n" if value else b"#f\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        return b",%s\r\n" % repr(value).encode()
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, dict):
        return b"%%%d\r\n" % len(value) + b"".join(wire(k) + wire(v) for k, v in value.items())
    return b"*%d\r\n" % len(value) + b"".join(map(wire, value))


@examples(100, 300, st.lists(replies, max_size=8), st.data())
def test_any_split_gives_the_same_replies(values: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(wire, values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    got, end = parse(chunks)
    assert end == "clean"
    assert same(got, [plain(v) for v in values])


def is_text(value: Any) -> bool:
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
    if isinstance(value, dict):
        return all(map(is_text, [*value.keys(), *value.values()]))
    return not isinstance(value, list) or all(map(is_text, value))


def decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {decoded(key): decoded(item) for key, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value


@examples(100, 300, st.lists(replies, max_size=8), st.data())
def test_a_reply_that_is_no_text_takes_no_other_with_it(values: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(wire, values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser = Parser()
    got: list[Any] = []
    partial = False
    for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if a == b:
            continue  # no transport hands over nothing
        parser.feed(stream[a:b], partial)
        partial = False
        while parser.has_data():
            try:
                value = parser.gets(True)
            except UnicodeDecodeError:
                value = "no text"
            if value is INCOMPLETE:
                partial = True
                break
            got.append(plain(value))
    assert not partial
    assert same(got, [plain(decoded(value)) if is_text(value) else "no text" for value in values])


def test_what_looks_like_a_map_within_a_value_is_none() -> None:
    value = b"\r\n%2\r\n" * 3 + b"100 %, a\n%, \r%" * 4
    stream = wire([value, {b"k": value}, 1]) + wire({value: value}) + wire(value) + wire({b"a": {b"b": 1}})
    expected = [plain(v) for v in ([value, {b"k": value}, 1], {value: value}, value, {b"a": {b"b": 1}})]
    for cut in range(len(stream)):
        assert same(parse([stream[:cut], stream[cut:]])[0], expected)
    assert same(parse(stream[i : i + 1] for i in range(len(stream)))[0], expected)


@pytest.mark.parametrize("text", [b">", b">12345", b">\xff", b"*12345", b"~99999999999", b"%1", b"|12345"])
def test_a_line_that_begins_like_a_header_is_a_line(text: bytes) -> None:
    """The reader takes the first byte of a line, and then has nothing left, as between two replies."""
    for stream in (b"+%b\r\n" % text, b":1\r\n*2\r\n+%b\r\n-%b\r\n" % (text, text), b"%%1\r\n+%b\r\n:1\r\n" % text):
        expected = parse([stream])
        for cut in range(1, len(stream)):
            assert parse([stream[:cut], stream[cut:]]) == expected
        assert parse(stream[i : i + 1] for i in range(len(stream))) == expected


def test_a_map_is_read_the_same_wherever_the_bytes_are_cut() -> None:
    """Also between the end of a line and its line feed: hiredis would refuse the key before the map is whole."""
    for first in (b"*0\r\n", b"+a\r\n", b"$1\r\na\r\n", b"%0\r\n"):
        stream = first + b"%1\r\n*0\r\n"
        expected = parse([stream])
        assert expected[1] == "incomplete"
        for cut in range(1, len(stream)):
            assert parse([stream[:cut], stream[cut:]]) == expected


@examples(100, 300, st.lists(replies, max_size=4), st.binary(min_size=1, max_size=60))
def test_garbage_never_changes_what_came_before(values: list[Any], garbage: bytes) -> None:
    got, _ = parse([b"".join(map(wire, values)), garbage])
    assert same(got[: len(values)], [plain(v) for v in values])


# --- Packing ---------------------------------------------------------------------------------------------------------

arguments = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.integers(), st.floats(allow_nan=False)
)


def encoded(argument: Any) -> bytes:
    if isinstance(argument, str):
        return argument.encode()
    return argument if isinstance(argument, bytes) else repr(argument).encode()


@given(st.lists(arguments, min_size=1, max_size=8))
def test_packed_arguments_travel_as_they_are(items: list[Any]) -> None:
    packed = pack(tuple(items))
    assert isinstance(packed, bytes)
    assert parse([packed]) == ([[encoded(item) for item in items]], "clean")
    assert unpack(packed) == [encoded(item) for item in items]


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("kind", [str, bytes, bytearray, memoryview])
def test_a_large_argument_is_a_chunk_of_its_own(where: int, kind: type) -> None:
    large: Any = "x" * (CHUNK + 1) if kind is str else kind(b"x" * (CHUNK + 1))
    items: list[Any] = ["a", 1, b"c"]
    items.insert(where + 1, large)
    packed = pack(tuple(items))
    assert isinstance(packed, list)
    assert len(packed) == 3
    assert len(packed[1]) == CHUNK + 1
    assert parse([b"".join(packed)])[0][0][where + 1] == b"x" * (CHUNK + 1)
    items[where + 1] = b"x" * (CHUNK + 1)
    assert unpack(packed) == [encoded(item) for item in items]


def test_two_large_arguments() -> None:
    packed = pack(("MSET", "a", b"1" * 50_000, "b", b"2" * 50_000))
    assert isinstance(packed, list)
    assert parse([b"".join(packed)])[0] == [[b"MSET", b"a", b"1" * 50_000, b"b", b"2" * 50_000]]
    assert unpack(packed) == [b"MSET", b"a", b"1" * 50_000, b"b", b"2" * 50_000]
    assert unpack(pack((b"1" * 50_000, b"2" * 50_000))) == [b"1" * 50_000, b"2" * 50_000]


def test_a_large_argument_is_read_without_a_copy() -> None:
    large = b"\r\n$3\r\n" * 10_000
    packed = pack(("SET", large, "", large, "\r\n", "end"))
    found = unpack(packed)
    assert found == [b"SET", large, b"", large, b"\r\n", b"end"]
    assert found[1] is found[3] is large


def test_a_view_with_strides_is_packed_as_what_it_shows() -> None:
    assert parse([pack_small(("ECHO", memoryview(b"abcdef")[::2]))]) == ([[b"ECHO", b"ace"]], "clean")


def test_subclasses_of_the_accepted_types() -> None:
    class Word(str): ...

    class Number(int): ...

    class Real(float): ...

    assert parse([pack_small((Word("SET"), Word("k"), Number(3), Real(0.5)))])[0] == [[b"SET", b"k", b"3", b"0.5"]]


@cases("spell", [*SPELLED.values(), *CUT.values()], ids=[*SPELLED, *CUT])
@cases("count", [1, 2, 3, 5, 20])
def test_the_data_of_an_argument_is_sent_whatever_its_class_says(spell: Callable[[str], Any], count: int) -> None:
    """Above all, its length is counted here: by a false one, a value could bring a command of its own."""
    packed = pack_small(("SET", *(["x"] * (count - 1)), spell("FLUSHALL")))
    ((values,), end) = parse([packed])
    assert (len(values), end) == (count + 1, "clean")
    assert values[-1].partition(b"\0")[0].upper() == b"FLUSHALL"
    assert unpack(packed) == values


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20])
def test_numbers_that_lie(count: int) -> None:
    for number, text in ((LyingInt(5), b"5"), (LyingFloat(0.5), b"0.5"), (LyingInt(-(10**600)), b"-1" + b"0" * 600)):
        assert parse([pack_small(("SET", *([number] * count)))]) == ([[b"SET", *([text] * count)]], "clean")


@pytest.mark.parametrize("number", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e300, 0.1])
def test_floats_travel_as_python_writes_them(number: float) -> None:
    for value in (number, LyingFloat(number)):
        assert parse([pack_small(("SET", "k", value))])[0] == [[b"SET", b"k", repr(number).encode()]]


@pytest.mark.parametrize("value", [10**5000, -(10**5000), 2**2048, LyingInt(10**5000)], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("where", [0, 1, 2, 5, 20])
def test_a_huge_int_is_refused(value: int, where: int) -> None:
    """hiredis asks for its text, which Python does not make, and goes on with what is not there: the process ends."""
    items: list[Any] = ["INCRBY", *(["x"] * 25)]
    items[where] = value
    what = f"INCRBY: argument {where}" if where else "the name of a command"
    for end in (where + 1, where + 2, len(items)):
        with pytest.raises(ValueError, match=f"^{what} is an int of more than 2048 bits; pass it as str$"):
            pack(tuple(items[:end]))
    packed = pack_small(("SET", "k", 2**2048 - 1))
    assert parse([packed]) == ([[b"SET", b"k", str(2**2048 - 1).encode()]], "clean")


def test_a_view_that_was_released_is_named() -> None:
    view = memoryview(b"secret")
    view.release()
    with pytest.raises(ValueError, match=r"^SET: argument 2 is a memoryview that was released$") as caught:
        pack(("SET", "k", view))
    assert caught.value.__context__ is None


def test_views_of_any_shape() -> None:
    for view, data in (
        (memoryview(b"\1\0\2\0").cast("H"), b"\1\0\2\0"),
        (memoryview(b"\1\0\2\0\3\0\4\0").cast("H")[::2], b"\1\0\3\0"),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        (memoryview(b""), b""),
        (memoryview(b"x" * 2 * CHUNK)[::2], b"x" * CHUNK),
    ):
        assert parse([pack_small(("SET", "k", view))])[0] == [[b"SET", b"k", data]]


def test_a_buffer_is_copied() -> None:
    for size in (10, CHUNK + 1):
        buffer = bytearray(b"x" * size)
        packed = pack(("SET", buffer, memoryview(buffer)))
        buffer[:] = b"y" * size
        stream = packed if isinstance(packed, bytes) else b"".join(packed)
        assert parse([stream])[0] == [[b"SET", b"x" * size, b"x" * size]]


def test_impostors_are_refused() -> None:
    for items in (
        ("GET", Impostor()),
        ("SET", "k", Impostor()),
        ("SET", Impostor(), "v"),
        ("MSET", Impostor(), "a", 1),
    ):
        with pytest.raises(TypeError, match="is Impostor, not str"):
            pack(items)


def pack_small(items: tuple[Any, ...]) -> bytes:
    packed = pack(items)
    assert isinstance(packed, bytes)
    return packed


@pytest.mark.parametrize(
    ("bad", "name"),
    [(None, "NoneType"), (True, "bool"), ([], "list"), ({}, "dict"), (object(), "object"), (1j, "complex")],
)
@pytest.mark.parametrize("position", [1, 2])
def test_what_cannot_be_sent_is_named(bad: Any, name: str, position: int) -> None:
    items: list[Any] = ["SET", "k", "v"]
    items[position] = bad
    with pytest.raises(TypeError, match=rf"^SET: argument {position} is {name}, not str"):
        pack(tuple(items))


def test_a_lone_surrogate_is_a_value_error() -> None:
    for items in (("GET", "\udc80"), ("SET", "k", "\udc80"), ("SET", "k", "\udc80" * (CHUNK + 1))):
        with pytest.raises(ValueError, match=r"^(GET: argument 1|SET: argument 2) has no UTF-8 form"):
            pack(items)


@pytest.mark.parametrize("count", [0, 1, 33, 1000])
@pytest.mark.parametrize("data", [b"x", b"a\r\n>77777\r\n", b">", b">3\r\n$7\r\nmessage\r\n"])
def test_messages_are_looked_through_for_pushes_that_are_too_long(count: int, data: bytes) -> None:
    """However many came before, by whatever cuts, and whatever is in them: none makes room for what cannot be."""
    message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%b\r\n" % (len(data), data)
    stream = message * count + b">99999999\r\n"
    # Behind a thousand, one cut in seven: which byte of a message it falls on, fewer messages tell as well.
    cuts = range(max(0, len(stream) - 2 * len(message)), len(stream) + 1, 7 if count > 100 else 1)
    for cut in cuts:
        parser = Parser()
        parser.undecoded()
        got: list[Any] = []
        with pytest.raises(ProtocolError, match="a push of 99,999,999 parts"):
            for part in (stream[:cut], stream[cut:]):
                if part:
                    parser.feed(part, True)
                    got.extend(parser.items())
        assert got == [[b"message", b"c", data]] * count
