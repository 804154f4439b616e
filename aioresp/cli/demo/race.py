"""Race of the lanes, as the process sees it that shows them.

Owns the processes of the lanes, and ends them. Never measures: each lane has its own clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from aioresp.cli.demo.lanes import serve
from aioresp.cli.demo.progress import Lane, Sample
from aioresp.cli.target import Target
from aioresp.errors import RedisError


class Starter:
    """Process that starts the lanes, from entering to leaving. Made before an event loop or a thread: it is a fork."""

    def __init__(self, target: Target | None) -> None:
        self._target = target
        self._pid = 0
        self.orders = self.messages = -1

    def __enter__(self) -> Starter:
        read_orders, self.orders = os.pipe()
        self.messages, write_messages = os.pipe()
        # A Ctrl-C in between would find a child that takes itself for the demo.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._pid = os.fork()
            if not self._pid:
                self._become(read_orders, write_messages)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(read_orders)
        os.close(write_messages)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        os.close(self.orders)
        os.close(self.messages)

    def _become(self, orders: int, messages: int) -> None:
        # A session of its own: Ctrl-C reaches the demo's process only, which ends this one and its children.
        os.setsid()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.dup2(orders, 0)
        os.dup2(messages, 1)
        for descriptor in (orders, messages, self.orders, self.messages):
            os.close(descriptor)
        serve(self._target)

    def end(self) -> None:
        """End all lanes at once, also in the middle of their work."""
        if self._pid:
            os.kill(self._pid, signal.SIGSTOP)  # so that no new lane escapes
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come to its session yet, nor to any lane
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Race:
    """Lanes of one starter, from entering to leaving."""

    def __init__(
        self,
        starter: Starter,
        url: str | None,
        prefix: str,
        lanes: Sequence[Lane],
        finished: Callable[[Lane], None],
    ) -> None:
        self._starter = starter
        self._job = {"url": url, "prefix": prefix, "counts": {lane.number: lane.total for lane in lanes}}
        self._lanes = {lane.number: lane for lane in lanes}
        self._finished = finished
        self._messages = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None

    async def __aenter__(self) -> Race:
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(os.dup(self._starter.messages), "rb", buffering=0)
        protocol = asyncio.StreamReaderProtocol(self._messages)
        self._transport, _ = await loop.connect_read_pipe(lambda: protocol, pipe)
        self._order(json.dumps(self._job))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    async def run(self, lanes: Sequence[Lane]) -> None:
        """Let these lanes run, all at once. Raises RedisError if one of them fails."""
        for lane in lanes:
            self._order(str(lane.number))
        for _ in lanes:
            await self._message()
        self._order("go")
        for lane in lanes:
            lane.begin()
        while not all(lane.result for lane in lanes):
            message = await self._message()
            lane = self._lanes[message["lane"]]
            lane.samples.append(Sample(message.get("at") or message["seconds"], message["done"], message["made"]))
            if "seconds" in message:
                lane.result = message
                self._finished(lane)

    def _order(self, line: str) -> None:
        os.write(self._starter.orders, line.encode() + b"\n")

    async def _message(self) -> dict[str, Any]:
        line = await self._messages.readline()
        message: dict[str, Any] = json.loads(line or '{"ended": "unknown"}')
        if "error" in message:
            raise RedisError(message["error"])
        if "ended" in message:
            raise RuntimeError(f"a process of the demo ended with status {message['ended']}")
        return message
