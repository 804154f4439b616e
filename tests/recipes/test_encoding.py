"""Arguments and results as JSON: what a call sends, what a worker gets, and the errors in between."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from aioresp import ArgumentError, ArgumentTypeError
from aioresp.errors import DecodeError
from aioresp.recipes.encoding import Decoder, Signature, encode


@dataclass
class Point:
    x: int
    y: int = 0


async def plain(a: int, b: str = "b") -> Point: ...  # type: ignore[empty-body]
async def only(a: Point, /) -> None: ...
async def named(a: int, *, b: datetime) -> None: ...
async def named_default(a: int, *, b: int = 0) -> None: ...
async def many(a: int, *rest: Point) -> None: ...
async def others(a: int = 0, **rest: bytes) -> None: ...
async def untyped(a, b=None): ...  # type: ignore[no-untyped-def]
async def nothing() -> None: ...


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (plain, (1,), {}),
    (plain, (1, "é"), {}),
    (plain, (1,), {"b": "c"}),
    (plain, (), {"b": "c", "a": 2}),
    (only, (Point(1, 2),), {}),
    (named, (1,), {"b": datetime(2030, 1, 2, tzinfo=UTC)}),
    (named_default, (1,), {}),
    (named_default, (1,), {"b": 5}),
    (many, (1,), {}),
    (many, (1, Point(1), Point(2)), {}),
    (others, (), {}),
    (others, (1,), {"x": b"\xff"}),
    (untyped, ([1, {"a": None}],), {}),
    (nothing, (), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_a_call_arrives(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What arrives is the call that was made, also past the short way for plain ones."""
    signature: Signature[Any] = Signature(function, function.__name__)
    payload = signature.encode(args, kwargs)
    found, names = signature.decode(payload)
    signature._plain = (1, 0, ())  # no short way
    assert signature.encode(args, kwargs) == payload
    assert signature.decode(payload) == (found, names)
    bound = signature._signature.bind(*args, **kwargs)
    assert (tuple(found), names) == (bound.args, bound.kwargs)


def test_keys_of_dicts_may_be_numbers() -> None:
    def f(a: dict[int, str], b: int = 0) -> dict[int, int]:
        return {}

    signature: Signature[dict[int, int]] = Signature(f, "f")
    for data in (signature.encode(({1: "a"},), {}), signature.encode((), {"b": 0, "a": {1: "a"}})):
        args, kwargs = signature.decode(data)
        assert args[0] == {1: "a"}
    assert not kwargs
    assert signature.result(encode({1: 2}, "")) == {1: 2}


def test_equal_calls_are_equal_bytes() -> None:
    signature: Signature[Any] = Signature(plain, "plain")
    assert (
        signature.encode((1, "c"), {}) == signature.encode((1,), {"b": "c"}) == signature.encode((), {"b": "c", "a": 1})
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, r"plain\(\): missing a required argument: 'a'"),
        ((1, "b", 2), {}, r"plain\(\): too many positional arguments"),
        ((1,), {"c": 2}, r"plain\(\): got an unexpected keyword argument 'c'"),
        ((object(),), {}, r"plain\(\): the argument a is object, which cannot be written as JSON"),
        ((1, "\ud800"), {}, r"plain\(\): the argument b is str, .*: not UTF-8"),
    ],
)
def test_wrong_calls(args: tuple[Any, ...], kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentTypeError, match=words):
        Signature(plain, "plain").encode(args, kwargs)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[[],{}]",
        b"[[1,2,3],{}]",
        b'[["secret"],{}]',
        b'[[1],{"secret":1}]',
        b"\x80\x04secret",
        b"[[\xff],{}]",
    ],
)
def test_payloads_that_do_not_fit(payload: bytes) -> None:
    with pytest.raises(DecodeError) as failed:
        Signature(plain, "plain").decode(payload)
    assert "plain" in str(failed.value)
    assert "secret" not in str(failed.value).replace("argument 'secret'", "")


def test_models_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    model: Any = pydantic.create_model(
        "Model",
        __config__={"strict": True},
        id=(int, ...),
        when=(datetime, pydantic.Field(alias="At")),
        b=(bytes, b"x"),
    )
    value = model(id=1, At=datetime(2026, 1, 1, tzinfo=UTC))
    for kind, given in [(model, value), (dict[int, model], {1: value}), (model | None, None), (list[model], [value])]:
        assert Decoder(kind).decode(encode(given, "it"), "it") == given
    with pytest.raises(DecodeError, match="the result does not fit its type: Model refuses id, At") as caught:
        Decoder(model).decode(encode({"id": "se" + "cret", "b": ["se" + "cret"]}, "it"), "the result")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


class Strange:
    pass


def test_types_that_json_does_not_hold() -> None:
    with pytest.raises(ArgumentTypeError, match=r"it is Strange, .*: Encoding objects of type Strange is unsupported"):
        encode(Strange(), "it")
    with pytest.raises(DecodeError, match="Expected `Strange`, got `dict`"):
        Decoder(Strange).decode(b"{}", "it")


def test_annotations_that_cannot_be_read() -> None:
    async def later(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    async def odd(a: list[int] | set[int]) -> None: ...

    with pytest.raises(ArgumentError, match="later: an annotation cannot be read at run time"):
        Signature(later, "later").resolve()
    with pytest.raises(ArgumentTypeError, match="cannot be decoded from JSON"):
        Signature(odd, "odd").resolve()


def test_arguments_by_name_travel_in_their_places() -> None:
    """However a call is written, its bytes are those of the call with binding."""

    async def f(a: int, b: int = 2, /, c: int = 3, d: int = 4) -> None: ...

    async def g(a: int, b: int = 2, *, c: int = 3) -> None: ...

    def encoded(function: Any, *args: int, **kwargs: int) -> bytes:
        return Signature(function, "f").encode(args, kwargs)

    assert encoded(f, 1, 2, c=3) == encoded(f, 1, 2, d=4, c=3)[:-7] + b"],{}]" == b"[[1,2,3],{}]"
    assert encoded(f, 1, 2, 3, d=4) == encoded(f, 1, 2, d=4, c=3) == b"[[1,2,3,4],{}]"
    assert encoded(f, 1, 2, d=4) == b'[[1,2],{"d":4}]'
    assert encoded(g, b=1, a=2) == b"[[2,1],{}]"
    assert encoded(g, a=2, c=1) == b'[[2],{"c":1}]'
    wrong: list[tuple[Any, tuple[int, ...], dict[str, int]]] = [
        (f, (), {"a": 1}),
        (f, (1, 2, 3, 4, 5), {"d": 1}),
        (f, (1, 2, 3), {"c": 3}),
        (g, (1,), {"e": 3}),
        (g, (), {"b": 3}),
    ]
    for function, args, kwargs in wrong:
        with pytest.raises(ArgumentTypeError, match=r"f\(\)"):
            encoded(function, *args, **kwargs)
