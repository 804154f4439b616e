"""Bases of generic classes and of typed dicts that cost little when a class is made.

Owns what is left of `Generic` and `TypedDict` at run time. Those of `typing` read all annotations and type arguments of
each class, which takes a tenth of the import. To type checkers these are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import TypedDict as TypedDict
else:
    from types import GenericAlias

    class Generic:
        """Class that takes type arguments, as the generic classes of the standard library do."""

        __slots__ = ()

        __class_getitem__ = classmethod(GenericAlias)

    class TypedDict(dict):
        """A dict whose keys are the annotations of its class."""

        def __init_subclass__(cls, *, total: bool = True) -> None:
            super().__init_subclass__()
