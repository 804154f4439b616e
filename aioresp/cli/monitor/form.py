"""JSON form of the monitor's figures, and the way back.

Owns the version of the form. The fields are those of the dataclasses, by their names: a new version may add fields and
never renames one. Never reads a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import GenericAlias, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from aioresp.cli.monitor.rates import Rates
from aioresp.cli.monitor.reading import Reading
from aioresp.cli.monitor.rows import KeyReport

T = TypeVar("T")

#: Version of the form. It grows when the meaning of a field changes.
VERSION: Final = 1

#: Properties that the form has beside the fields, for readers in other languages.
_DERIVED: Final[dict[type, tuple[str, ...]]] = {
    Rates: ("hit_rate",),
    Reading: ("keys", "expiring"),
    KeyReport: ("progress",),
}


def plain(value: Any) -> Any:
    """Return a dataclass, or a tuple or dict of them, as what JSON has."""
    if is_dataclass(value):
        names = (*(field.name for field in fields(value)), *_DERIVED.get(type(value), ()))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, float):
        # JSON has no infinity; six digits behind the point are microseconds, and more would be noise.
        return round(value, 6) if math.isfinite(value) else None
    return value


def line(value: Mapping[str, Any]) -> str:
    """Return a line of JSON."""
    return json.dumps(plain(dict(value)), separators=(",", ":"))


def rebuilt(kind: Any, value: Any) -> Any:
    """Return an object of a type out of what `plain` has made of it.

    Unknown fields are left out, and missing ones get their defaults. Raises ValueError, TypeError or KeyError for what
    does not fit.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        kinds = [each for each in get_args(kind) if each is not type(None)]
        return None if value is None else rebuilt(kinds[0], value)
    if origin is tuple:
        given = get_args(kind)
        if len(given) == 2 and given[1] is Ellipsis:
            return tuple(rebuilt(given[0], each) for each in value)
        return tuple(rebuilt(each, item) for each, item in zip(given, value, strict=True))
    if origin is dict:
        return {name: rebuilt(get_args(kind)[1], each) for name, each in value.items()}
    if is_dataclass(origin):
        return _made(origin, _bound(origin, get_args(kind)), value)
    if isinstance(kind, type) and is_dataclass(kind):
        return _made(kind, _hints(kind), value)
    if kind is float:
        return math.nan if value is None else float(value)
    if kind in (int, str, bool) and type(value) is not kind:
        raise TypeError(f"{kind.__name__} was due")
    return value


def _made(kind: Any, hints: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError("an object was due")
    names = kind.__dataclass_fields__
    return kind(**{name: rebuilt(each, value[name]) for name, each in hints.items() if name in value and name in names})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _bound(kind: Any, given: tuple[Any, ...]) -> dict[str, Any]:
    """Return the types of a generic's fields, with its parameter filled in."""
    (parameter,) = kind.__parameters__
    return {
        name: GenericAlias(tuple, (given[0], ...)) if get_args(hint)[:1] == (parameter,) else hint
        for name, hint in _hints(kind).items()
    }
