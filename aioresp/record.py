"""Frozen records with named fields: dataclasses that take no time to import.

Owns one set of methods for all record classes. `@dataclass` compiles new ones for each class in 0.4 ms, and the package
has a hundred classes. Never knows the meaning of a value.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self, dataclass_transform

from aioresp.errors import ArgumentTypeError


@dataclass_transform(frozen_default=True)
class Record:
    """A frozen value. Its fields are the annotations of its class, in order; a field with a default is optional.

    Records compare by class and fields, and work in `match` statements.
    """

    record_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.record_fields = (*cls.record_fields, *cls.__annotations__)
        setattr(cls, "__match_args__", cls.record_fields)  # noqa: B010  # type checkers know it already

    def __init__(self, *args: Any, **fields: Any) -> None:
        """Set the fields, by position or by name.

        Raises ArgumentTypeError for one that is missing, unknown or given twice.
        """
        names = self.record_fields
        values = vars(self)
        values.update(zip(names, args, strict=False))
        if len(args) == len(names) and not fields:
            return
        wrong = [name for name in fields if name in values or name not in names]
        if wrong or len(args) > len(names):
            raise ArgumentTypeError(
                f"{type(self).__name__}() takes {', '.join(names)}, each once; not {wrong or len(args)}"
            )
        for name in names[len(args) :]:
            if name in fields or hasattr(type(self), name):
                values[name] = fields[name] if name in fields else getattr(type(self), name)
            else:
                raise ArgumentTypeError(f"{type(self).__name__}() needs {name}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __copy__(self) -> Self:
        return self

    def replace(self, **fields: Any) -> Self:
        """Return a copy with other values of some fields."""
        return type(self)(**{**vars(self), **fields})

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name; a field that is a record stays one."""
        return dict(vars(self))
