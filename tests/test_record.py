"""Records: frozen, equal by value, as type checkers take them for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from aioresp.record import Record

T = TypeVar("T")


class Point(Record, Generic[T]):
    x: T
    y: T
    label: str = "?"


class Solid(Point[int]):
    z: int = 0


def test_fields_are_set_by_position_and_by_name() -> None:
    assert Point(1, 2) == Point(x=1, y=2) == Point(1, y=2, label="?")
    assert Point(1, 2, "a").label == "a"
    assert Solid(1, 2, "a", 3).asdict() == {"x": 1, "y": 2, "label": "a", "z": 3}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda kind: kind(1), r"Point\(\) needs y"),
        (lambda kind: kind(1, 2, x=1), r"Point\(\) takes x, y, label, each once; not \['x'\]"),
        (lambda kind: kind(1, 2, z=1), r"not \['z'\]"),
        (lambda kind: kind(1, 2, "a", x=1), r"not \['x'\]"),
        (lambda kind: kind(1, 2, 3, 4), r"not 4"),
    ],
)
def test_wrong_fields_are_named(make: Callable[[Any], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(Point)


def test_a_record_cannot_be_changed() -> None:
    point: Any = Point(1, 2)
    with pytest.raises(AttributeError, match="a Point cannot be changed"):
        point.x = 2
    with pytest.raises(AttributeError, match="a Point cannot be changed"):
        del point.x
    assert point.replace(x=5) == Point(5, 2)
    assert point == Point(1, 2)


def test_records_compare_by_class_and_fields() -> None:
    assert Solid(1, 2) != Point(1, 2)
    assert Point(1, 2) != (1, 2, "?")
    assert len({Point(1, 2), Point(1, 2), Point(2, 1), Solid(1, 2)}) == 3
    assert repr(Point(1, "b")) == "Point(x=1, y='b', label='?')"


def test_records_match_and_travel() -> None:
    point = Point(1, 2)
    match point:
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert pickle.loads(pickle.dumps(point)) == point
    assert copy.copy(point) == copy.deepcopy(point) == point
