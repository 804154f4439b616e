"""Raw replies become the values that callers see: the same under RESP2 and RESP3.

Each converter takes what the parser gave, text already decoded or not, as the caller asked. Never imports asyncio or
hiredis, keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aioresp.command import Converter
from aioresp.errors import DecodeError
from aioresp.record import Record

T = TypeVar("T")


def as_is(value: Any) -> Any:
    """Return the reply as it came. The client knows this one and does not call it."""
    return value


# One function under the names of what it passes on, so that signatures can be exact.
text: Converter[Any] = as_is
integer: Converter[int] = as_is
integer_or_none: Converter[int | None] = as_is
array: Converter[list[Any]] = as_is
binary: Converter[bytes] = as_is  # command.is_binary() has it come as bytes


def ok(value: Any) -> bool:
    """Return True for OK, and False for nil: a condition was not met."""
    return value is not None


def nothing(value: Any) -> None:
    """Return None: that the reply came is all there is to know."""


def boolean(value: Any) -> bool:
    """Return whether the reply is 1 or true."""
    return bool(value)


def booleans(value: Any) -> list[bool]:
    """Return a bool for each 0 or 1."""
    return [bool(item) for item in value]


def floating(value: Any) -> float:
    """Return a double; RESP2 has it as text."""
    return float(value)


def floating_or_none(value: Any) -> float | None:
    """Return a double, or None for nil."""
    return None if value is None else float(value)


def mapping(value: Any) -> dict[Any, Any]:
    """Return a dict; RESP2 has it as a flat list of keys and values."""
    if value.__class__ is dict:
        return value
    pairs = iter(value)
    return dict(zip(pairs, pairs, strict=True))


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """Return pairs; RESP2 has them as a flat list."""
    if not value or isinstance(value[0], list):
        return [(first, second) for first, second in value]
    items = iter(value)
    return list(zip(items, items, strict=True))


def members(value: Any) -> set[Any]:
    """Return a set; the parser and RESP2 have it as a list."""
    return set(value)


def as_tuple(value: Any) -> tuple[Any, Any] | None:
    """Return a pair, or None for nil."""
    return None if value is None else (value[0], value[1])


def scan_page(item: Callable[[Any], T]) -> Converter[tuple[int, T]]:
    """Return a converter of a SCAN reply: the next cursor, and the page as `item` makes it."""

    def convert(value: Any) -> tuple[int, T]:
        return int(value[0]), item(value[1])

    return convert


page = scan_page(list)
mapping_page = scan_page(mapping)


def string(value: Any) -> str:
    """Return what is always ASCII text, a name or a number of the server's own, as str for every client."""
    return value.decode() if isinstance(value, bytes) else str(value)


def shown(value: Any) -> str:
    """Return what the server quotes for people to read as str for every client; escaped where it is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def words(value: Any) -> set[str]:
    """Return a set of the server's own words, of flags for instance."""
    return {string(word) for word in value or ()}


def record(kind: type[Record], **parts: Converter[Any]) -> Converter[Any]:
    """Return a converter of a map to a record, field by field: `parts` says how, None stays None.

    Servers add fields as they grow: what an older one does not say is None, what a newer one says beside is left out.
    """
    names = kind.record_fields

    def convert(value: Any) -> Any:
        said = {string(name).replace("-", "_"): item for name, item in mapping(value).items()}
        for name, part in parts.items():
            if said.get(name) is not None:
                said[name] = part(said[name])
        return kind(*map(said.get, names))

    return convert


def each(item: Converter[Any]) -> Converter[list[Any]]:
    """Return a converter of a list, item by item."""

    def convert(value: Any) -> list[Any]:
        return [item(one) for one in value]

    return convert


def string_or_none(value: Any) -> str | None:
    """Return a name of the server's own, or None for nil."""
    return None if value is None else string(value)


def groups_of(size: int) -> Converter[list[tuple[Any, ...]]]:
    """Return a converter of a flat list to tuples of so many elements."""

    def convert(value: Any) -> list[tuple[Any, ...]]:
        items = iter(value)
        return list(zip(*(items,) * size, strict=True))

    return convert


def numbers(value: Any) -> tuple[int, int]:
    """Return two numbers."""
    return int(value[0]), int(value[1])


def time(value: Sequence[Any]) -> tuple[int, int]:
    """Return the server's clock: Unix seconds, and microseconds of that second."""
    return int(value[0]), int(value[1])


def decoded(value: Any) -> Any:
    """Return a reply that was read as bytes as the parser decodes it; one that is not UTF-8 becomes a DecodeError."""
    try:
        return _text_of(value)
    except UnicodeDecodeError as error:
        return DecodeError(f"the reply is not UTF-8 ({error.reason}); use decode_responses=False to get bytes")
    except RecursionError:
        return DecodeError("the reply is nested too deeply; use decode_responses=False to get it undecoded")


def _text_of(value: Any) -> Any:
    if value.__class__ is bytes:
        return value.decode()
    if value.__class__ is list:
        return [_text_of(item) for item in value]
    if value.__class__ is dict:
        return {_text_of(key): _text_of(item) for key, item in value.items()}
    return value
