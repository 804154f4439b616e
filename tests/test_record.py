"""Records: frozen, equal by value, as type checkers take them for."""

from __future__ import annotations
import __future__

import copy
import importlib
import inspect
import pickle
import pkgutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import pytest

import aioresp
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


SOURCE = """
class Place(Record):
    name: str
    owner: "Place | None" = None

class Town(Place):
    size: int = 0

class Empty(Place):
    pass
"""


@pytest.mark.parametrize("flags", [0, __future__.annotations.compiler_flag], ids=["evaluated", "as text"])
def test_fields_are_found_however_annotations_are_kept(flags: int) -> None:
    """They are evaluated when the class is made, or when they are asked for (since Python 3.14), or stay text."""
    names: dict[str, Any] = {"Record": Record, "__name__": __name__}
    exec(compile(SOURCE, "<records>", "exec", flags=flags, dont_inherit=True), names)
    town = names["Town"]("Ys", size=3)
    assert town.asdict() == {"name": "Ys", "owner": None, "size": 3}
    assert names["Empty"].record_fields == ("name", "owner")


def kinds(base: type) -> Iterator[type]:
    below: list[type] = base.__subclasses__()
    for kind in below:
        yield kind
        yield from kinds(kind)


def test_annotations_of_the_package_are_text() -> None:
    """Converters and checks of options look for names in them; evaluated ones would cost an import of each name."""
    for module in pkgutil.walk_packages(aioresp.__path__, "aioresp."):
        if ".cli" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {kind for kind in kinds(Record) if kind.__module__.startswith("aioresp.")}
    assert len(found) > 70
    for kind in found:
        said = kind.__annotations__
        assert all(type(text) is str for text in said.values()), kind


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotationlib came with Python 3.14")
def test_annotations_of_the_public_names_can_be_read() -> None:
    """As text and as references: names that only type checkers import make no difference to these two."""
    annotationlib: Any = importlib.import_module("annotationlib")
    read = 0
    for name in aioresp.__all__:
        thing = getattr(aioresp, name)
        if inspect.isclass(thing):
            for one in (thing, *(member for _, member in inspect.getmembers(thing, inspect.isfunction))):
                for form in (annotationlib.Format.STRING, annotationlib.Format.FORWARDREF):
                    read += len(annotationlib.get_annotations(one, format=form))
    assert read > 1000
