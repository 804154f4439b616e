"""Generic classes and typed dicts at run time, without the machinery of `typing`."""

from __future__ import annotations

import typing

import pytest

from aioresp import Client, Lease, Message
from aioresp.command import AnyStr
from aioresp.options import Options
from aioresp.replies import Late
from aioresp.replies.geo import Place


@pytest.mark.parametrize("kind", [Client, Lease, Message, Place])
def test_generic_classes_take_type_arguments(kind: typing.Any) -> None:
    assert typing.get_origin(kind[str]) is kind
    assert typing.get_args(kind[str]) == (str,)
    assert kind[AnyStr][bytes] == kind[bytes]


async def test_a_class_with_type_arguments_makes_the_same_objects() -> None:
    async with Client[str]("redis://localhost") as client:
        assert type(client) is Client


def test_options_are_a_dict() -> None:
    options = Options(limit=3)
    assert options == {"limit": 3}
    assert isinstance(options, dict)


def test_a_late_module_has_the_names_of_the_module() -> None:
    late = Late("geo")
    assert late.Place is Place
    assert late.Place is Place  # kept after the first look
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = late.nowhere
