"""Proxies in front of servers that belong together, in a thread of their own.

Owns the thread and its event loop. Never lets a fault touch what the servers say to each other: their connections come
from an address of their own, and pass as if there was no proxy.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial, wraps
from typing import Any, TypeVar, cast

from aioresp.testing.faults import Faults
from aioresp.testing.proxy import Proxy
from aioresp.testing.relay import Link
from aioresp.testing.sockets import HOST

T = TypeVar("T")

#: The address from which servers behind gates connect to each other; all of 127.0.0.0/8 is this machine, on Linux.
SERVERS = "127.0.0.2"

#: Turns of the loop in which a connection that has just been accepted is refused, and closed.
TURNS = 5


class Gate(Proxy):
    """A `Proxy` whose methods may be called from any thread, and which connections of servers pass untouched."""

    def __init__(self, there: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(HOST, 0)
        self.there = there
        self._before_host = "redis://"
        self._passing: set[Link] = set()
        self._all_passed = asyncio.Event()

    @property
    def url(self) -> str:
        """The proxy's address as a URL, with the password of the server behind it."""
        return f"{self._before_host}{self.host}:{self.port}"

    def stand_before(self, port: int, before_host: str) -> None:
        """Lead new connections to a port of this machine, whose URL begins like this."""
        self._before_host = before_host
        self.lead_to(HOST, port)

    def _made(self, link: Link) -> None:
        transport = link.client.transport
        if transport is None or transport.get_extra_info("peername", ("",))[0] != SERVERS:
            super()._made(link)
            return
        self._links.discard(link)
        self._passing.add(link)
        self._accepted -= 1
        link.up.faults = link.down.faults = Faults(random.Random(0))
        link.connect(*self._target)

    def _gone(self, link: Link) -> None:
        self._passing.discard(link)
        if not self._passing:
            self._all_passed.set()
        super()._gone(link)

    @property
    def busy(self) -> bool:
        """Whether a connection is still open, or being closed."""
        return bool(self._links or self._passing)

    async def leave(self) -> None:
        """Close the port and all connections."""
        for link in list(self._passing):
            link.abort()
        await self.__aexit__(None, None, None)
        while self._passing:
            self._all_passed.clear()
            await self._all_passed.wait()


def _in_its_thread(function: Callable[..., T]) -> Callable[..., T]:
    """Return a method of a gate that runs in the gate's thread, wherever it is called."""

    @wraps(function)
    def call(self: Gate, *arguments: Any, **options: Any) -> T:
        return cast(T, self.there(partial(function, self, *arguments, **options)))

    return call


for _name, _member in vars(Proxy).items():
    if not _name.startswith("_") and _name not in vars(Gate):
        if isinstance(_member, property):
            _getter, _setter = _member.fget, _member.fset
            _new: object = property(_getter and _in_its_thread(_getter), _setter and _in_its_thread(_setter))
        else:
            _new = _in_its_thread(_member)
        setattr(Gate, _name, _new)


class Gates:
    """Event loop in a thread, and the gates that run in it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aioresp-gates", daemon=True)
        self._thread.start()
        self._gates: list[Gate] = []

    def open(self) -> Gate:
        """Return a gate that listens on a port of its own, and leads nowhere until `lead_to`."""
        gate = Gate(self._there)
        self._wait_for(gate.__aenter__())
        self._gates.append(gate)
        return gate

    def close(self) -> None:
        """Close all gates and end the thread; not in a forked child, which has no such thread."""
        if self._owner != os.getpid():
            return
        for gate in self._gates:
            self._wait_for(gate.leave())
        self._wait_for(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _settle(self) -> None:
        """Wait until the connections that were being accepted are closed: the loop would leave their sockets open."""
        calm = 0
        while calm < TURNS:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            calm = 0 if others or any(gate.busy for gate in self._gates) else calm + 1
            await asyncio.sleep(0 if calm else 0.001)

    def _there(self, function: Callable[[], T]) -> T:
        """Call a function in the thread and return its result."""
        if threading.current_thread() is self._thread:
            return function()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result()

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def servers_address() -> str | None:
    """Return the address from which servers may connect to each other, None where there is but one."""
    with socket.socket() as probe:
        try:
            probe.bind((SERVERS, 0))
        except OSError:
            return None
    return SERVERS
