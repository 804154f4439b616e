"""Raw replies as RESP2 and RESP3 have them, text decoded or not: the values must be the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aioresp import replies
from tests.cases import cases
from tests.commands.exact import exactly, spelled

#: The converter, the raw replies (RESP2 and RESP3, as str and as bytes), and the value of them all.
SAME: list[tuple[Callable[[Any], Any], tuple[Any, ...], Any]] = [
    (replies.ok, ("OK", b"OK", True), True),
    (replies.ok, (None,), False),
    (replies.boolean, (1, True), True),
    (replies.boolean, (0, False), False),
    (replies.booleans, ([1, 0], [True, False], (1, 0)), [True, False]),
    (replies.booleans, ([],), []),
    (replies.floating, ("1.5", b"1.5", 1.5), 1.5),
    (replies.floating, ("3", b"3", 3, 3.0), 3.0),
    (replies.floating, ("-0.1", b"-0.1", -0.1), -0.1),
    (replies.floating, ("inf", b"inf", float("inf"), "Infinity"), float("inf")),
    (replies.floating, ("-inf", b"-inf", float("-inf")), float("-inf")),
    (replies.floating, ("nan", b"nan", float("nan")), float("nan")),
    (replies.floating, ("1e+20", b"1e20", 1e20), 1e20),
    (replies.floating_or_none, (None,), None),
    (replies.floating_or_none, ("2", b"2", 2.0), 2.0),
    (replies.mapping, (["a", "1", "b", "2"], {"a": "1", "b": "2"}), {"a": "1", "b": "2"}),
    (replies.mapping, ([b"a", b"1"], {b"a": b"1"}), {b"a": b"1"}),
    (replies.mapping, ([], {}), {}),
    (replies.mapping, ([("a", "1"), ("a", "2")], ["a", "1", "a", "2"]), {"a": "2"}),
    (replies.pairs, (["a", "1", "b", "2"], [["a", "1"], ["b", "2"]]), [("a", "1"), ("b", "2")]),
    (replies.pairs, ([b"a", b"1"], [[b"a", b"1"]]), [(b"a", b"1")]),
    (replies.pairs, (["a", "1", "a", "1"], [["a", "1"], ["a", "1"]]), [("a", "1"), ("a", "1")]),
    (replies.pairs, ([],), []),
    (replies.members, (["a", "b"], {"b", "a"}, ["b", "a", "b"]), {"a", "b"}),
    (replies.members, ([b"a"], {b"a"}), {b"a"}),
    (replies.members, ([], set()), set()),
    (replies.key_and_element, (["k", "v"], ("k", "v")), ("k", "v")),
    (replies.key_and_element, ([b"k", b"v"],), (b"k", b"v")),
    (replies.key_and_element, (None,), None),
    (replies.key_and_elements, (["k", ["v", "w"]],), ("k", ["v", "w"])),
    (replies.key_and_elements, (None,), None),
    (replies.page, (["0", ["a", "b"]], [b"0", ["a", "b"]]), (0, ["a", "b"])),
    (replies.page, ([str(2**63), []], [str(2**63).encode(), []]), (2**63, [])),
    (replies.mapping_page, (["7", ["a", "1"]], [b"7", ["a", "1"]], ["7", {"a": "1"}]), (7, {"a": "1"})),
    (replies.mapping_page, (["0", []], [b"0", {}]), (0, {})),
    (replies.scan_page(replies.members), (["7", ["a", "b"]], [b"7", {"b", "a"}]), (7, {"a", "b"})),
    (replies.string, ("hash", b"hash"), "hash"),
    (replies.string, (b"", ""), ""),
    (replies.time, (["1700000000", "42"], [b"1700000000", b"42"], (1700000000, 42)), (1700000000, 42)),
]


@cases(
    "convert, raw, value",
    [(convert, raw, value) for convert, forms, value in SAME for raw in forms],
    ids=[f"{getattr(convert, '__name__', '')} {spelled(raw)}" for convert, forms, _ in SAME for raw in forms],
)
def test_every_form_is_the_same_value(convert: Callable[[Any], Any], raw: Any, value: Any) -> None:
    exactly(convert(raw), value)


#: Converters that pass on what is of these kinds.
PASSED_ON: list[tuple[Callable[[Any], Any], tuple[type, ...]]] = [
    (replies.as_is, (object,)),
    (replies.text, (str, bytes, type(None))),
    (replies.some_text, (str, bytes)),
    (replies.integer, (int,)),
    (replies.integer_or_none, (int, type(None))),
    (replies.array, (list,)),
    (replies.array_or_none, (list, type(None))),
    (replies.binary, (bytes,)),
    (replies.binary_or_none, (bytes, type(None))),
]


@cases("convert, kinds", PASSED_ON, ids=[convert.__name__ for convert, _ in PASSED_ON])
@cases("raw", ["v", b"v", 7, None, ["a", None], 1.5, True, {"a": 1}])
def test_what_needs_no_conversion_is_passed_on(convert: Callable[[Any], Any], kinds: Any, raw: Any) -> None:
    if kinds == (object,) or type(raw) in kinds:
        assert convert(raw) is raw
    else:
        with pytest.raises(TypeError):
            convert(raw)


@pytest.mark.parametrize(
    ("convert", "raw"),
    [
        (replies.mapping, ["a", "1", "b"]),
        (replies.pairs, ["a", "1", "b"]),
        (replies.floating, "none"),
        (replies.floating, None),
        (replies.page, ["x", []]),
    ],
)
def test_what_has_the_wrong_shape_is_an_error(convert: Callable[[Any], Any], raw: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        convert(raw)
