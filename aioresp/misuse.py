"""Refusals of what an asynchronous object cannot do: pickling, copying, `await`, plain `for` and `with`.

Owns the words of these errors, which name the right way. Never keeps state, and never stands in the way of right uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn


class Bound:
    """Object that is bound to its process, and is neither pickled nor copied."""

    __slots__ = ()

    _instead: str = "make one where it is used"
    """Way for a caller who wanted to pickle or copy it."""

    def __reduce__(self) -> NoReturn:
        """Refuse: `pickle`, `copy.copy` and `copy.deepcopy` all call it."""
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied: {self._instead}")


class Entered(Bound):
    """Object that is entered with `async with`, and is no coroutine."""

    __slots__ = ()

    _entering: str = "async with"
    """The statement that enters it."""

    if not TYPE_CHECKING:  # type checkers have words of their own for these mistakes

        def __await__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} is not awaited: use `{self._entering}`")

        def __enter__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} is asynchronous: use `{self._entering}`")

        def __exit__(self, *_: Any) -> NoReturn:
            raise NotImplementedError  # `with` looks for it before it calls `__enter__`


class Iterated(Entered):
    """Object that is read with `async for`."""

    __slots__ = ()

    _reading: str = "async for"
    """The statement that reads it."""

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a {type(self).__name__} is iterated asynchronously: use `{self._reading}`")
