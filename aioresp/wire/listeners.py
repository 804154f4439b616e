"""Listeners of a connection, for its pushes and for its end.

Owns their order. Never lets an error of one listener reach the others, or the callers of the replies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

logger = logging.getLogger("aioresp")

#: Function that takes a push, undecoded, as the list of its parts.
PushListener: TypeAlias = Callable[[list[Any]], object]

#: Function that takes the connection that has ended.
EndListener: TypeAlias = Callable[[Any], object]


class Listeners:
    """The listeners of one connection, in the order in which they were added."""

    __slots__ = ("_end", "_loop", "_push", "_unheard")

    def __init__(self, loop: asyncio.AbstractEventLoop, unheard: PushListener) -> None:
        self._loop = loop
        self._unheard = unheard
        self._push: tuple[PushListener, ...] = ()
        self._end: tuple[EndListener, ...] = ()

    def add_push(self, listener: PushListener) -> None:
        """Tell `listener` of each push from now on."""
        self._push += (listener,)

    def remove_push(self, listener: PushListener) -> None:
        """Tell `listener` of no more pushes. Raises ValueError if it was not added."""
        self._push = _without(self._push, listener)

    def add_end(self, listener: EndListener) -> None:
        """Tell `listener` of the end."""
        self._end += (listener,)

    def remove_end(self, listener: EndListener) -> None:
        """Do not tell `listener` of the end. Raises ValueError if it was not added."""
        self._end = _without(self._end, listener)

    def hear(self, push: list[Any]) -> None:
        """Tell all of a push; without listeners it goes to `unheard`."""
        listeners = self._push
        if not listeners:
            self._unheard(push)
        for listener in listeners:
            if self._push is not listeners and listener not in self._push:
                continue  # one before it has removed it
            try:
                listener(push)
            except Exception as error:
                # Only the class is logged: messages of Python's own errors show values.
                logger.error("a listener for pushes raised %s", type(error).__name__)

    def end(self, connection: object) -> None:
        """Tell all of the end of `connection`."""
        listeners = self._end
        for listener in listeners:
            if self._end is not listeners and listener not in self._end:
                continue
            try:
                listener(connection)
            except Exception as error:
                message = "a listener for the end of a connection raised an error"
                self._loop.call_exception_handler({"message": message, "exception": error})


def _without(listeners: tuple[Any, ...], listener: Any) -> tuple[Any, ...]:
    index = listeners.index(listener)
    return listeners[:index] + listeners[index + 1 :]
