"""Raw replies with scores as RESP2 and RESP3 have them, text decoded or not: the values must be the same."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from aioresp.replies import sorted_sets as replies
from tests.commands.exact import exactly

#: The converter, the raw replies (RESP2 and RESP3, as str and as bytes), and the value of them all.
SAME: list[tuple[Callable[[Any], Any], tuple[Any, ...], Any]] = [
    (
        replies.scored,
        (["a", "1", "b", "-inf"], [["a", 1.0], ["b", -inf]], [["a", "1"], ["b", "-inf"]]),
        [("a", 1.0), ("b", -inf)],
    ),
    (replies.scored, ([b"a", b"1.5"], [[b"a", 1.5]]), [(b"a", 1.5)]),
    (replies.scored, (["a", 1.5],), [("a", 1.5)]),
    (replies.scored, (["1", "2", "1", "2"], [["1", 2.0], ["1", 2.0]]), [("1", 2.0), ("1", 2.0)]),
    (replies.scored, ([],), []),
    (replies.popped, (["k", "m", "1.5"], ["k", "m", b"1.5"], ["k", "m", 1.5]), ("k", "m", 1.5)),
    (replies.popped, (None,), None),
    (replies.key_and_scored, (["k", [["m", "1"]]], ["k", [["m", 1.0]]]), ("k", [("m", 1.0)])),
    (replies.key_and_scored, (None,), None),
    (replies.rank_and_score, ([0, "inf"], [0, b"inf"], [0, inf]), (0, inf)),
    (replies.rank_and_score, (None,), None),
    (replies.scores, (["1.5", None, "-inf"], [b"1.5", None, b"-inf"], [1.5, None, -inf]), [1.5, None, -inf]),
    (replies.scores, ([],), []),
    (replies.scored_page, (["7", ["a", "1"]], [b"7", ["a", b"1"]]), (7, [("a", 1.0)])),
    (replies.scored_page, (["0", []],), (0, [])),
]


@pytest.mark.parametrize(
    ("convert", "raw", "value"),
    [(convert, raw, value) for convert, forms, value in SAME for raw in forms],
    ids=[f"{getattr(convert, '__name__', '')} {raw!r}" for convert, forms, _ in SAME for raw in forms],
)
def test_every_form_is_the_same_value(convert: Callable[[Any], Any], raw: Any, value: Any) -> None:
    exactly(convert(raw), value)


@pytest.mark.parametrize(
    ("convert", "raw"),
    [
        (replies.scored, ["a", "1", "b"]),
        (replies.scored, ["a", "much"]),
        (replies.scored, [["a"]]),
        (replies.scored_page, ["x", []]),
    ],
)
def test_what_has_the_wrong_shape_is_an_error(convert: Callable[[Any], Any], raw: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        convert(raw)
