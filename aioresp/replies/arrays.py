"""Replies of arrays. An index above the range of a RESP integer arrives as text."""

from __future__ import annotations

from typing import Any, Final

from aioresp.record import Record
from aioresp.replies import complete, mapping, parts, required, some_text, string


class ArrayInfo(Record):
    """Reply of ARINFO; the averages and the kinds of slices are None without `full`."""

    count: int
    len: int
    next_insert_index: int | None
    slices: int | None
    directory_size: int | None
    super_dir_entries: int | None
    slice_size: int | None
    extra: dict[str, int | float]
    """Further fields of the server's reply."""


_REQUIRED: Final = required(ArrayInfo)


def whole(value: Any) -> int:
    """Return an integer of any size."""
    return int(value)


def whole_or_none(value: Any) -> int | None:
    """Return an integer of any size, or None for nil."""
    return None if value is None else int(value)


def wholes(value: Any) -> list[int]:
    """Return integers of any size."""
    return [int(index) for index in parts(value)]


def number_or_none(value: Any) -> int | float | None:
    """Return a number, or None for nil; it is text under both protocols."""
    if value is None:
        return None
    said = string(value)
    return int(said) if said.lstrip("-").isdigit() else float(said)


def indexed(value: Any) -> list[tuple[int, Any]]:
    """Return indices with their elements: pairs, or a flat list of them."""
    if parts(value) and not isinstance(value[0], list):
        items = iter(value)
        return [(int(index), some_text(element)) for index, element in zip(items, items, strict=True)]
    return [(int(index), some_text(element)) for index, element in map(parts, value)]


def array_info(value: Any) -> ArrayInfo | None:
    """Return what ARINFO says, or None for nil."""
    if value is None or value == []:
        return None
    said = {string(name).replace("-", "_"): number_or_none(item) for name, item in mapping(value).items()}
    known: dict[str, Any] = {name: said.pop(name, None) for name in ArrayInfo.record_fields if name != "extra"}
    extra = {name: number for name, number in said.items() if number is not None}
    return complete(ArrayInfo(**known, extra=extra), _REQUIRED)
