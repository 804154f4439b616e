"""What the converters of all methods make of random replies is of the declared type in all its parts, or an error.

Left out are the parts of lists that may be long: a look at each of them would cost as much as parsing it.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import random
import sys
import types
import typing
from typing import Any, Final

import pytest

import aioresp
from aioresp import replies
from aioresp.command import AnyStr, Result
from aioresp.commands import Commands
from aioresp.record import Record
from aioresp.replies.shapes import failure
from tests.recorder import Recorder
from tests.security.test_shapes import SECRET, calls

#: What is taken as it is, as far as its parts go.
LONG: Final = frozenset(
    (
        *(
            "bzmpop",
            "geosearch",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "hgetall",
            "hgetdel",
        ),
        *("hgetex", "hkeys", "hmget", "hrandfield", "hscan", "hvals", "keys", "lpop"),
        *("lrange", "mget", "rpop", "scan", "sdiff", "sinter", "smembers", "sort"),
        *("sort_ro", "spop", "srandmember", "sscan", "sunion", "vlinks", "vrandmember", "vrange"),
        *("vsim", "xautoclaim", "xclaim", "xinfo_stream", "xrange", "xread", "xreadgroup", "xrevrange"),
        *("zdiff", "zinter", "zmpop", "zpopmax", "zpopmin", "zrandmember", "zrange", "zrangebylex"),
        *("zrangebyscore", "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zscan", "zunion"),
    )
)


class Undeclared(Exception):
    """A part of a value is of another type."""


def names() -> dict[str, Any]:
    """Return what the annotations of the package may name."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(replies.__path__):
        found.update(vars(importlib.import_module(f"aioresp.replies.{module.name}")))
    return {**found, **vars(importlib.import_module("aioresp.command")), **vars(typing)}


NAMES: Final = names()


def resolved(annotation: Any, owner: type) -> Any:
    """Return an annotation, which may be quoted, as an object."""
    if isinstance(annotation, typing.ForwardRef):  # a NamedTuple's
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return eval(annotation, {**NAMES, **vars(sys.modules[owner.__module__])})
    return annotation


def declared(method: str) -> Any:
    owner = next(kind for kind in Commands.__mro__ if method in vars(kind))
    found = resolved(inspect.signature(vars(owner)[method]).return_annotation, owner)
    ways = (found,) if typing.get_origin(found) is Result else typing.get_args(found)
    assert all(typing.get_origin(way) is Result for way in ways), method
    return typing.Union[tuple(typing.get_args(way)[0] for way in ways)]  # noqa: UP007  # they are found here


def fits(value: Any, kind: Any, text: type) -> None:
    """Raise Undeclared unless a value, with all its parts, is of a type; AnyStr stands for `text`."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if kind is AnyStr:
        kind = text
    if origin in (typing.Union, types.UnionType):
        wrong = 0
        for one in inner:
            try:
                return fits(value, one, text)
            except Undeclared:
                wrong += 1
        raise Undeclared(type(value).__name__)
    if origin is typing.Literal:
        if value not in inner:
            raise Undeclared("another literal")
        return
    plain: Any = origin or kind or type(None)
    if type(value) is not plain and not (isinstance(value, plain) and plain is dict):
        raise Undeclared(f"{type(value).__name__}, not {kind}")
    if plain in (list, set, frozenset):
        for item in value:
            fits(item, inner[0], text)
    elif plain is dict and inner:
        for key, item in value.items():
            fits(key, inner[0], text)
            fits(item, inner[1], text)
    elif plain is tuple:
        if len(value) != len(inner):
            raise Undeclared("of another length")
        for item, one in zip(value, inner, strict=True):
            fits(item, one, text)
    elif isinstance(value, Record) or hasattr(value, "_fields"):
        for name, annotation in plain.__annotations__.items():
            fits(getattr(value, name), resolved(annotation, plain), text)


WORDS: Final = (SECRET, "", "1", "1.5", "nan", "-1", "0", "OK", "a=b,c=d", "x:1\r\ny", "1-1", "on", "master", "slave")
NUMBERS: Final = (None, True, False, 0, 1, -1, 2**63 - 1, 10**40, 1.5, math.nan, math.inf)


def reply(source: random.Random, text: type, depth: int = 0) -> Any:
    """Return what the parser may give."""
    kind = source.random()
    if depth > 4 or kind < 0.3:
        return source.choice(NUMBERS)
    if kind < 0.6:
        word = source.choice(WORDS)
        return word if text is str else word.encode()
    count = source.choice((0, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7))
    if kind < 0.9:
        if source.random() < 0.4:
            return [reply(source, text, depth + 1)] * count
        return [reply(source, text, depth + 1) for _ in range(count)]
    return {reply(source, text, 5): reply(source, text, depth + 1) for _ in range(count)}


def converters() -> list[tuple[str, tuple[Any, ...], Any, Any]]:
    found = []
    for method, call in calls():
        recorder = Recorder()
        call(recorder)
        ((arguments, convert),) = recorder.calls
        found.append((method, arguments, convert, declared(method)))
    return found


@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(1, marks=pytest.mark.ci),
        *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 10)),
    ],
)
@pytest.mark.parametrize("text", [str, bytes])
def test_random_replies(text: type, seed: int) -> None:
    source = random.Random(seed)
    table = [(*row, bytes if "dump" in row[0] else text) for row in converters() if row[0] not in LONG]
    assert len({row[0] for row in table}) > 300
    for _ in range(60):
        raw = reply(source, text)
        for method, arguments, convert, kind, own in table:
            try:
                value = convert(raw)
            except Exception as error:
                wrong = failure(error, raw, arguments)
                assert isinstance(wrong, aioresp.RedisError), method
                assert SECRET not in f"{wrong} {wrong!r}"
                continue
            try:
                fits(value, kind, own)
            except Undeclared as why:
                pytest.fail(f"{method} made {value!r} of {raw!r}: {why}")
