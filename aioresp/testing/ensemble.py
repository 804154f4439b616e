"""Several test servers that belong together: started and ended as one.

Owns the members' common start, end and waits. Never knows how they find each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from aioresp.testing.entering import Entered
from aioresp.testing.gates import Gates
from aioresp.testing.member import Member
from aioresp.testing.process import ServerFailed
from aioresp.testing.proxy import Proxy

M = TypeVar("M", bound=Member)
T = TypeVar("T")


class Ensemble(Entered, Generic[M]):
    """Servers that start together, and are gone together, also if the tests die."""

    def __init__(self, timeout: float, proxied: bool) -> None:
        super().__init__()
        self._members: tuple[M, ...] = ()
        self._gates: Gates | None = None
        self._proxies: dict[M, Proxy] = {}
        self._proxied: Final = proxied
        self._timeout = timeout
        self._formed = False  # set when the members have found each other; cleared at the end

    def __repr__(self) -> str:
        if not hasattr(self, "_formed"):  # its constructor failed
            return f"{type(self).__name__}(not made)"
        if not self._formed:
            return f"{type(self).__name__}(not started)"
        ports = (f"{each.port}{'' if each.reachable else ' down'}" for each in self._members)
        return f"{type(self).__name__}({', '.join(ports)})"

    @property
    def proxies(self) -> Mapping[M, Proxy]:
        """The proxy before each server, if it was made with `proxies=True`.

        They run in a thread of their own, and their methods may be called from any thread and any event loop. What the
        servers say to each other passes untouched and uncounted (on Linux, elsewhere like all the rest).
        """
        if not self._proxied:
            raise RuntimeError(f"there are no proxies: make the {type(self).__name__} with proxies=True")
        return self._proxies

    def start(self) -> None:
        """Start the servers and wait until they work together; `with` and `async with` call it."""
        if self._formed:
            raise RuntimeError(f"{self!r} is running already")
        self._open_gates()
        self._form()
        self._formed = True

    def close(self) -> None:
        """End all servers at once and remove their folders; a second time do nothing."""
        if self._members:
            in_threads(lambda each: each.close(), self._members)
        if self._gates is not None:
            self._gates.close()
            self._gates = None
        self._formed = False
        self._abandoned.clear()  # by now the start that it was meant for has ended

    def wait_until_ok(self, timeout: float | None = None) -> None:
        """Wait until all servers that run agree, and replicas are in step with their primaries."""
        self._until(self._trouble, timeout)

    def restore(self) -> None:
        """Start all servers that are down, resume those that are frozen, and wait until all is as after the forming.

        The roles stay where they are, and so do the keys. Proxies let everything pass again.
        """
        for proxy in self._proxies.values():
            proxy.heal()
        for each in self._members:
            if each.running and not each.reachable:
                each.resume()
        if down := [each for each in self._members if not each.running]:
            in_threads(lambda each: each.start(), down)
        self._reunite()
        self.wait_until_ok()

    def reset_stats(self) -> None:
        """Begin the counts of all servers that run again."""
        in_threads(lambda each: each.reset_stats(), self._reachable())

    def abandon(self) -> None:
        """End a start that goes on in another thread: it raises ServerFailed soon."""
        super().abandon()
        for each in self._members:
            each.abandon()

    def _open_gates(self) -> None:
        """Put a proxy before each member, or another one than before."""
        if not self._proxied:
            return
        if self._gates is not None:
            self._gates.close()
        self._gates = Gates()
        for each in self._members:
            gate = self._gates.open()
            each.stand_behind(gate)
            self._proxies[each] = gate

    def _form(self) -> None:
        """Start the members and make them one; each kind of ensemble does it in its own way."""
        raise NotImplementedError

    def _trouble(self) -> str:
        """Return why the servers are not ok, or nothing."""
        raise NotImplementedError

    def _reunite(self) -> None:
        """Help servers that have come back to find their places; by default they find them by themselves."""

    def _reachable(self) -> list[M]:
        return [each for each in self._members if each.reachable]

    def _until(self, missing: Callable[[], str], timeout: float | None, pause: float = 0.02) -> None:
        """Wait until `missing` returns no more words about what is missing.

        Raises ServerFailed with the last of these words after `timeout` seconds.
        """
        seconds = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        while True:
            try:
                words = missing()
            except ServerFailed as error:
                words = str(error)
            if not words:
                return
            if self._abandoned.is_set():
                raise ServerFailed("the start was abandoned")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self!r} after {seconds:g} s: {words}")
            time.sleep(pause)


def in_threads(function: Callable[[M], T], members: Sequence[M]) -> list[T]:
    """Run a function for each member at the same time; raise the first error when all have ended."""
    with ThreadPoolExecutor(max(1, len(members))) as threads:
        futures = [threads.submit(function, each) for each in members]
    return [each.result() for each in futures]


def first_or_fail(words: str, members: Iterable[M]) -> M:
    """Return the first member, or raise ServerFailed with these words."""
    for each in members:
        return each
    raise ServerFailed(words)
