"""Converters from raw replies to the values that callers see: the same under RESP2 and RESP3.

Owns one function for each shape of a reply, with its text decoded or not. Never imports asyncio or hiredis, and never
keeps state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from aioresp.command import Converter
from aioresp.errors import DecodeError
from aioresp.record import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)


def as_is(value: Any) -> Any:
    """Return the reply unchanged. The client knows this converter and does not call it."""
    return value


# For a wrong shape a converter raises any error. The client does not show it, and raises UnexpectedReply instead.


def text(value: Any) -> Any:
    """Return text or nil unchanged. The client knows this converter and seldom calls it."""
    kind = value.__class__
    if kind is str or kind is bytes or value is None:
        return value
    raise TypeError("not text")


def some_text(value: Any) -> Any:
    """Return text unchanged."""
    kind = value.__class__
    if kind is str or kind is bytes:
        return value
    raise TypeError("not text")


def integer(value: Any) -> int:
    """Return an integer unchanged. The client knows this converter and seldom calls it."""
    if value.__class__ is int:
        return value
    raise TypeError("not an integer")


def integer_or_none(value: Any) -> int | None:
    """Return an integer or nil unchanged."""
    return None if value is None else integer(value)


def array(value: Any) -> list[Any]:
    """Return a list unchanged."""
    if value.__class__ is list:
        return value
    raise TypeError("not a list")


def array_or_none(value: Any) -> list[Any] | None:
    """Return a list or nil unchanged."""
    return None if value is None else array(value)


def list_of(*kinds: type) -> Converter[list[Any]]:
    """Return a converter that accepts a list of these types only, for replies with few elements."""
    fit = frozenset(kinds)

    def convert(value: Any) -> list[Any]:
        if value.__class__ is list and fit.issuperset(map(type, value)):
            return value
        raise TypeError("not a list of these")

    return convert


integers: Converter[list[int]] = list_of(int)
integers_or_nils: Converter[list[int | None]] = list_of(int, type(None))
texts: Converter[list[Any]] = list_of(str, bytes)
texts_or_nils: Converter[list[Any]] = list_of(str, bytes, type(None))


def texts_or_none(value: Any) -> list[Any] | None:
    """Return a list of texts, or None for nil."""
    return None if value is None else texts(value)


class Late:
    """Module of this package that is imported when the first of its names is used: few programs need its commands."""

    def __init__(self, name: str) -> None:
        self._name = f"{__name__}.{name}"

    def __getattr__(self, name: str) -> Any:
        found = getattr(__import__(self._name, fromlist=(name,)), name)
        setattr(self, name, found)
        return found


def binary(value: Any) -> bytes:
    """Return bytes unchanged, for commands with `binary` traits, whose replies are never decoded."""
    if value.__class__ is bytes:
        return value
    raise TypeError("not bytes")


def binary_or_none(value: Any) -> bytes | None:
    """Return bytes or nil unchanged."""
    return None if value is None else binary(value)


def parts(value: Any, size: int | None = None) -> Sequence[Any]:
    """Return a list, of so many parts if `size` is given. Other iterables are refused, above all text."""
    if not isinstance(value, (list, tuple)):
        raise TypeError("not a list")
    if size is not None and len(value) != size:
        raise ValueError("of another length")
    return value


def ok(value: Any) -> bool:
    """Return True for OK, and False for nil, which means that a condition was not met."""
    kind = value.__class__
    if kind is str or kind is bytes:
        return True
    if value is None or kind is bool:
        return bool(value)
    raise TypeError("neither text nor nil")


def nothing(value: Any) -> None:
    """Return None, whatever the reply is."""


def boolean(value: Any) -> bool:
    """Return whether the reply is 1 or true."""
    if isinstance(value, int):
        return bool(value)
    raise TypeError("neither an integer nor a boolean")


def booleans(value: Any) -> list[bool]:
    """Return a bool for each 0 or 1."""
    return [boolean(item) for item in parts(value)]


def floating(value: Any) -> float:
    """Return a double; RESP2 has it as text."""
    return float(value)


def floating_or_none(value: Any) -> float | None:
    """Return a double, or None for nil."""
    return None if value is None else float(value)


def mapping(value: Any) -> dict[Any, Any]:
    """Return a dict; RESP2 has it as a flat list of keys and values, the parser as pairs if keys are equal."""
    if value.__class__ is dict:
        return value
    if parts(value) and value[0].__class__ is tuple:
        return dict(value)
    items = iter(value)
    return dict(zip(items, items, strict=True))


def counts(value: Any) -> dict[Any, int]:
    """Return a dict of texts and integers."""
    return {some_text(name): integer(count) for name, count in mapping(value).items()}


def named_texts(value: Any) -> dict[str, Any]:
    """Return a dict of texts under names of the server's own, for replies with few elements."""
    return {string(name): some_text(item) for name, item in mapping(value).items()}


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """Return pairs; RESP2 has them as a flat list."""
    if not parts(value) or isinstance(value[0], list):
        return [(first, second) for first, second in map(parts, value)]
    items = iter(value)
    return list(zip(items, items, strict=True))


def members(value: Any) -> set[Any]:
    """Return a set; the parser and RESP2 have it as a list."""
    return value if isinstance(value, set) else set(parts(value))


def key_and_element(value: Any) -> tuple[Any, Any] | None:
    """Return a key and the element popped there, or None for nil."""
    if value is None:
        return None
    key, element = parts(value)
    return some_text(key), some_text(element)


def key_and_elements(value: Any) -> tuple[Any, list[Any]] | None:
    """Return a key and the list of elements popped there, or None for nil."""
    if value is None:
        return None
    key, elements = parts(value)
    return some_text(key), texts(elements)


def scan_page(item: Callable[[Any], T]) -> Converter[tuple[int, T]]:
    """Return a converter of a SCAN reply: the next cursor, and the page as `item` makes it."""

    def convert(value: Any) -> tuple[int, T]:
        cursor, found = parts(value)
        following = int(some_text(cursor))
        if following < 0:
            raise ValueError("not a cursor")
        return following, item(found)

    return convert


page = scan_page(array)
mapping_page = scan_page(mapping)


def string(value: Any) -> str:
    """Return a name or a number of the server's own, which is ASCII, as str for every client."""
    return shown(value)


def shown(value: Any) -> str:
    """Return quoted text, meant for people, as str for every client; bytes that are not UTF-8 are escaped."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else _str(value)


def lines(value: Any) -> list[str]:
    """Return the lines of a text without empty ones. `str.splitlines` would also end one at other characters."""
    return [line for line in shown(value).replace("\r\n", "\n").split("\n") if line]


def _str(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return str(value)
    raise TypeError("not text")


def words(value: Any) -> set[str]:
    """Return a set of the server's own words, such as flags."""
    return {string(word) for word in _several(value)}


def _several(value: Any) -> Iterable[Any]:
    return () if value is None else value if isinstance(value, set) else parts(value)


#: Converters of a record's fields by their declared types, which only check the type.
_PLAIN: Final[dict[str, Converter[Any]]] = {
    "int": integer,
    "int | None": integer,
    "AnyStr": some_text,
    "AnyStr | None": some_text,
    "list[AnyStr]": texts,
}


def record(kind: type[Record], **parts: Converter[Any]) -> Converter[Any]:
    """Return a converter of a map to a record; `parts` has the converters of its fields.

    Newer servers send more fields. A missing field is None if the record allows that; if not, the reply has a wrong
    shape. Extra fields are left out.
    """
    names = kind.record_fields
    needed = required(kind)
    plain = {name: _PLAIN[said] for name, said in kind.__annotations__.items() if said in _PLAIN}
    parts = {**plain, **parts}

    def convert(value: Any) -> Any:
        said = {string(name).replace("-", "_"): item for name, item in mapping(value).items()}
        for name, part in parts.items():
            if said.get(name) is not None:
                said[name] = part(said[name])
        return complete(kind(*map(said.get, names)), needed)

    return convert


def required(kind: type[Record]) -> list[str]:
    """Return the fields of a record that are never None."""
    return [name for name, said in kind.__annotations__.items() if "None" not in said]


def complete(found: R, needed: list[str]) -> R:
    """Return a record; raise TypeError if one of these fields is None."""
    values = vars(found)
    if any(values[name] is None for name in needed):
        raise TypeError("a field is missing")
    return found


def each(item: Converter[Any]) -> Converter[list[Any]]:
    """Return a converter of a list, item by item."""

    def convert(value: Any) -> list[Any]:
        return [item(one) for one in parts(value)]

    return convert


def string_or_none(value: Any) -> str | None:
    """Return a name of the server's own, or None for nil."""
    return None if value is None else string(value)


def groups_of(size: int) -> Converter[list[tuple[Any, ...]]]:
    """Return a converter of a flat list to tuples of so many elements."""

    def convert(value: Any) -> list[tuple[Any, ...]]:
        items = iter(parts(value))
        return list(zip(*(items,) * size, strict=True))

    return convert


def numbers(value: Any) -> tuple[int, int]:
    """Return two numbers."""
    first, second = parts(value)
    return int(first), int(second)


def time(value: Sequence[Any]) -> tuple[int, int]:
    """Return the server's clock: Unix seconds, and microseconds of that second."""
    seconds, microseconds = parts(value)
    return int(seconds), int(microseconds)


def decoded(value: Any) -> Any:
    """Decode a reply that was read as bytes, as the parser would; return a DecodeError if it is not UTF-8."""
    try:
        return _text_of(value)
    except UnicodeDecodeError as error:
        return DecodeError(f"the reply is not UTF-8 ({error.reason}); use decode_responses=False to get bytes")
    except RecursionError:
        from aioresp.replies.shapes import unexpected  # noqa: PLC0415 (needed for a failure only)

        return unexpected(value)  # nested more deeply than Python goes


def escaping(reply: Converter[T]) -> Converter[T]:
    """Return a converter of a reply that was read as bytes, in which those that are not UTF-8 are escaped."""
    return lambda value: reply(_text_of(value, "backslashreplace"))


def _text_of(value: Any, errors: str = "strict") -> Any:
    if value.__class__ is bytes:
        return value.decode("utf-8", errors)
    if value.__class__ is list:
        return [_text_of(item, errors) for item in value]
    if value.__class__ is tuple:  # a pair of a map that is no dict
        return tuple([_text_of(item, errors) for item in value])
    if value.__class__ is dict:
        return {_text_of(key, errors): _text_of(item, errors) for key, item in value.items()}
    return value
