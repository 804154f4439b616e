"""Event loops of a benchmark: asyncio's with a timer that is exact to microseconds, and uvloop.

Owns the selector. On Linux asyncio's own selector waits in whole milliseconds, and a call of an open loop would be sent
up to a millisecond after it was due.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import select
import selectors
from collections.abc import Callable

Factory = Callable[[], asyncio.AbstractEventLoop]


def uvloop_installed() -> bool:
    """Return whether uvloop can be imported."""
    return importlib.util.find_spec("uvloop") is not None


def factory(name: str, exact: bool) -> Factory:
    """Return what makes a loop: "asyncio", with an exact timer if `exact`, or "uvloop"."""
    if name == "uvloop":
        made: Factory = importlib.import_module("uvloop").new_event_loop
        return made
    if exact and hasattr(selectors, "EpollSelector"):
        return lambda: asyncio.SelectorEventLoop(_exact())
    return asyncio.new_event_loop


def _exact() -> selectors.BaseSelector:
    """Return an epoll selector whose time limits are exact, by select() on the epoll descriptor itself."""

    class Exact(selectors.EpollSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)

    return Exact()
