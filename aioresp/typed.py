"""Bases of enums, generic classes and typed dicts that cost little when a class is made.

Owns what is left of `Enum`, `Generic` and `TypedDict` at run time. The originals take a tenth of the
import, mostly for annotations and for checks that type checkers make, too. To type checkers these are the originals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enum import Enum as Enum
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

    class _Members(type):
        """Class of enum classes: iterates over the members, and finds one by its value."""

        def __iter__(cls):
            return iter(cls.members)

        def __getitem__(cls, name):
            return next(member for member in cls.members if member.name == name)

        def __call__(cls, value):
            for member in cls.members:
                if member.value == value:
                    return member
            raise ValueError(f"{value!r} is not a valid {cls.__name__}")

    class Enum(metaclass=_Members):
        """Set of named states; the value of each is a text."""

        members = ()

        def __init_subclass__(cls) -> None:
            found = []
            for name, value in list(vars(cls).items()):
                if name[0] != "_" and type(value) is str:
                    member = object.__new__(cls)
                    member.name, member.value = name, value
                    setattr(cls, name, member)
                    found.append(member)
            cls.members = tuple(found)

        def __repr__(self) -> str:
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"

        def __reduce__(self):
            return type(self), (self.value,)  # the same member, by `__call__` of its class
