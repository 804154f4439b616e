"""One socket to one server: commands out, replies in, each to the caller who asked.

Owns a FIFO of waiters whose order is the order of the commands on the wire. A waiter never leaves it before its reply
was read, whether its caller still waits or not: so replies and callers cannot be off by one. Never knows pools or
command groups, and never sends anything twice.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from aioresp.errors import (
    ERROR_TYPES,
    CommandTimeout,
    ConnectionLost,
    Outcome,
    RedisError,
    ReplyTooLarge,
    copy_with_outcome,
)
from aioresp.wire.batch import Batch, Unfinished, fail, undecodable, write_chunks
from aioresp.wire.deadlines import LATE, SILENCE, WAKE, Run, deadline_of, forget, spans
from aioresp.wire.limits import LONGEST, ReplyLimits
from aioresp.wire.packing import INCOMPLETE, Packed, Parser, Push, pack
from aioresp.wire.transports import READ_SIZE, Intake, Wire

if TYPE_CHECKING:
    from aioresp.wire.renewal import Renewal

#: Bytes of large arguments that one turn of the loop may collect before the connection takes no more commands.
BACKLOG: Final = 4 * 1024 * 1024

#: Commands that are not kept to the turn's end: the server works on them while more are made, and nobody waits.
EAGER: Final = 40

#: Replies that are handed out in one turn of the loop, and callers who are told that they are late.
SLICE: Final = 512

_NOT_PLAIN: Final = frozenset({Push, *ERROR_TYPES})
_NO_RUN: Final[Any] = object()


def _ignore(*_: Any) -> None: ...


class Connection(asyncio.Protocol):
    """A connection that takes up to `concurrency` commands at a time.

    `capacity` is what it takes at present: `concurrency`, or 0 before the handshake, while the transport's buffer is
    full, while the server is silent beyond a deadline, and after the end. `id` is the server's number for it, if known.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, concurrency: int, max_reply: int | None = None) -> None:
        self.in_flight = 0
        self.capacity = 0
        self.id: int | None = None
        self.lent = False  # somebody has it alone
        self.renewal: Renewal | None = None
        self.on_end: Callable[[Connection], None] = _ignore
        self.limits = ReplyLimits(max_reply)
        self.on_push: Callable[[list[Any]], None] = self.limits.drop
        self.bytes_sent = 0
        self.bytes_received = 0
        self._concurrency = concurrency
        self._on_room: Callable[[], None] = _ignore
        self._on_close: Callable[[Any], None] = _ignore
        self._loop = loop
        self._create_future = loop.create_future
        self._transport: asyncio.Transport | None = None
        self._wire = Wire()
        self._parser = Parser(max_reply)
        self._waiters: deque[Any] = deque()  # futures, and batches, which look like such
        self._outgoing: list[Packed] = []
        self._backlog = 0
        self._lone = False  # at the last write, its one command was all there was
        self._write_at = 0  # how many must be in flight for a write before the turn's end
        self._answered = 0  # commands whose replies were read; a batch counts as one
        self._flushed = 0  # commands given to the transport
        self._in_batches = 0  # commands of batches, beyond the one that each batch counts as
        self._partial = False  # what has arrived may end within a reply
        self._filled = False  # nothing is read until what is here is handed out
        self._more = False  # complete replies may be left for the next turn
        self._ready = False
        self._paused = False
        self._silent = False
        self.resting = False
        self._waking = False
        self.error: RedisError | None = None  # why it ended, if it has
        # Deadlines: one timer, and one run for all commands of a turn.
        self._run_timeout: float | None = _NO_RUN
        self._runs: deque[Run] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._heard = 0.0  # when bytes last arrived
        # Whether replies are decoded: the next one, and the numbers of the commands at which that turns over.
        self._decode_last = True
        self._decode_next = True
        self._decode_flips: deque[int] = deque()

    def __repr__(self) -> str:
        if self.error is not None:
            return "Connection(closed)"
        states = {"handshake": not self._ready, "paused": self._paused, "silent": self._silent, "resting": self.resting}
        said = "".join(f", {state}" for state, is_so in states.items() if is_so)
        return f"Connection({self.in_flight} in flight{said})"

    def attach(self, on_room: Callable[[], None], on_close: Callable[[Any], None]) -> None:
        """Have `on_room` called when more commands may be taken, and `on_close` with the connection at its end."""
        self._on_room = on_room
        self._on_close = on_close

    # --- Out ---------------------------------------------------------------------------------------------------------

    def send(
        self,
        packed: Packed,
        decode: bool = True,
        timeout: float | None = None,
        future: asyncio.Future[Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Send a command with this turn's others and return the future of its raw reply.

        The future gets ConnectionLost if the connection ends first, CommandTimeout after `timeout` seconds, DecodeError
        if the reply is not UTF-8 and `decode` is asked for, or the ResponseError that the server answered with. Raises
        ConnectionLost if the connection has ended already.
        """
        if timeout is not self._run_timeout:
            self._start_run(timeout)
        if future is None:
            future = self._create_future()
        if decode is not self._decode_last:
            self._decode_last = decode
            self._decode_flips.append(self._answered + self.in_flight)
        if type(packed) is list:
            self._count_backlog(packed)
        self._outgoing.append(packed)
        self._waiters.append(future)
        self.in_flight += 1
        if self.in_flight >= self._write_at:
            self._write()
        return future

    def send_batch(self, packed: Packed, batch: Batch, timeout: float | None = None) -> None:
        """Send a batch with this turn's others; it counts as one command. Raises ConnectionLost as `send` does."""
        self.send(packed, batch.attach(self, self._parser, self._waiters.appendleft), timeout, cast(Any, batch))
        self._in_batches += len(batch) - 1

    def _start_run(self, timeout: float | None) -> None:
        """Note the deadline of the commands that follow; the first of a turn also schedules the write."""
        if self.error is not None:
            raise self._lost("not sent")
        if not self._outgoing:
            # Who sends one command after another need not wait for the end of the turn: there is nobody to wait for.
            if self._lone and not self.in_flight:
                self._write_at = 1
            else:
                self._write_at = self.in_flight + max(EAGER, self.in_flight // 2)
                self._loop.call_soon(self._flush)
        self._run_timeout = timeout
        runs = self._runs
        forget(runs, self._answered)
        if timeout is None:
            if runs:
                runs.append(Run(math.inf, 0.0, self._answered + self.in_flight))
            return
        deadline = self._loop.time() + timeout
        runs.append(Run(deadline, timeout, self._answered + self.in_flight))
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)

    def _count_backlog(self, chunks: Packed) -> None:
        self._backlog += sum(map(len, chunks))  # type: ignore[arg-type]  # chunks, not bytes: the caller looked
        if self._backlog > BACKLOG:
            self.capacity = 0

    def _flush(self) -> None:
        """End the turn: write what it has left."""
        self._run_timeout = _NO_RUN
        if self._outgoing:
            self._write()

    def _write(self) -> None:
        """Write what there is. Nothing is held back when paused: `capacity` kept callers away before."""
        outgoing, self._outgoing = self._outgoing, []
        self._lone = self.in_flight == 1
        if self._lone:
            self._run_timeout = _NO_RUN
        self._write_at = self.in_flight + max(EAGER, self.in_flight // 2)
        self._flushed = self._answered + self.in_flight
        if self._transport is None or self.error is not None:
            return
        if self._backlog:
            self.bytes_sent += write_chunks(self._transport, outgoing)
            self._backlog = 0
            self._set_capacity()
        else:
            data = b"".join(outgoing)  # type: ignore[arg-type]  # no backlog: all of them are bytes
            self.bytes_sent += len(data)
            self._transport.write(data)

    def _set_capacity(self) -> None:
        usable = self._ready and not self._paused and not self._silent and not self.resting and self.error is None
        self.capacity = self._concurrency if usable else 0
        if usable:
            self._on_room()

    def pause_writing(self) -> None:
        """Take no more commands until the transport's buffer has drained."""
        self._paused, self.capacity = True, 0

    def resume_writing(self) -> None:
        """Take commands again."""
        self._paused = False
        self._set_capacity()

    # --- In ----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self.bytes_received += len(data)
        self._heard = self._loop.time()
        self._parser.feed(data, self._partial)
        if not self._more:
            self._read()
        elif self._parser.waiting > ReplyLimits.BACKLOG and not self._filled:
            # Tiny replies come in faster than they are handed out: pushes without an end, if the server is hostile.
            assert self._transport is not None
            self._filled = True
            self._transport.pause_reading()
        if len(data) > READ_SIZE and self._transport is not None:
            self._transport.set_protocol(Intake(self, self._transport))

    def _read(self) -> None:
        """Hand each complete reply to the waiter at the head of the line: a slice of them now, the rest next turn.

        So callers go on while their replies are still in the processor's cache, and the garbage collector never meets
        tens of thousands of finished calls at once.
        """
        waiters = self._waiters
        turns = self._decode_flips
        popleft = waiters.popleft
        gets = self._parser.gets
        has_data = self._parser.has_data
        decode = self._decode_of_next() if turns else self._decode_next
        self._more = False
        slice_ = iter(range(SLICE))
        while True:
            try:
                for taken in slice_:
                    if not has_data():
                        self._partial = False
                        break
                    reply = gets(decode)
                    if reply is INCOMPLETE:
                        if taken or not self._partial:
                            self._partial = True
                            self.limits.since = self.bytes_received
                        elif self.limits.too_large(self.bytes_received):
                            self._break(self.limits.refuse(self.bytes_received))
                        break
                    if type(reply) is not str and type(reply) in _NOT_PLAIN:
                        self._take_odd(reply)
                    else:
                        try:
                            popleft().set_result(reply)
                        except asyncio.InvalidStateError:
                            pass  # the caller has gone; its reply was read all the same
                    if turns:
                        decode = self._decode_of_next()
                else:
                    self._more = True
                    self._partial = True  # for all that is known here
                    self.limits.since = self.bytes_received
                    self._loop.call_soon(self._read_on)
                break
            except UnicodeDecodeError as error:
                if not waiters:
                    self.end(self.limits.unasked())
                    break
                self._fail_next(undecodable(error))
                decode = self._decode_of_next()
            except Unfinished:
                self._partial = True  # for all that is known here
                self.limits.since = self.bytes_received
                break
            except IndexError:
                self.end(self.limits.unasked())
                break
            except Exception as error:
                self._break(error)
                break
        self._answered += self.in_flight - len(waiters)
        self.in_flight = len(waiters)
        if self._silent:
            self._silent = False
            self._set_capacity()
        else:
            self._on_room()

    def _read_on(self) -> None:
        if self._more:
            self._read()
        if self._filled and not self._more:
            self._filled = False
            if self._transport is not None and self.error is None:
                self._transport.resume_reading()

    def _break(self, error: Exception) -> None:
        if isinstance(error, ReplyTooLarge) and self._waiters:
            fail(self._waiters[0], error)
        self.end(self._parser.broken(error))

    def _decode_of_next(self) -> bool:
        number = self._answered + self.in_flight - len(self._waiters)
        while self._decode_flips and self._decode_flips[0] <= number:
            self._decode_flips.popleft()
            self._decode_next = not self._decode_next
        return self._decode_next

    def _take_odd(self, reply: Any) -> None:
        if type(reply) is Push:
            self.on_push(reply)
        else:
            reply.deadline = deadline_of(self._runs, self._answered + self.in_flight - len(self._waiters))
            self._fail_next(reply)

    def _fail_next(self, error: RedisError) -> None:
        waiter = self._waiters.popleft()
        if type(waiter) is Batch:
            waiter.take_error(error)  # also if its caller has gone: there are more replies to it
        else:
            fail(waiter, error)

    # --- Deadlines ---------------------------------------------------------------------------------------------------

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)
        self._timer_at = when  # uvloop's handles do not always tell

    def _expire(self) -> None:
        """Fail the commands whose deadline has passed; their replies are read and dropped when they come."""
        self._timer = None
        now = self._loop.time() + 0.001  # timers may fire early by the clock's resolution
        punctual = now - self._timer_at < LATE
        look_again = math.inf
        for run, end in spans(self._runs, self._answered + self.in_flight):
            if end <= self._answered:
                continue
            deadline = run.deadline
            if deadline <= now:
                deadline = min(self._expire_run(run, end, now), self._doubt(run, now))
            look_again = min(look_again, deadline)
        if self._silent and punctual and all(waiter.done() for waiter in self._waiters):
            # Nobody waits for what it owes, and it says nothing: a peer that is gone, as far as can be told. Where this
            # process itself stood still, what it has not seen may be on its way.
            self.end(ConnectionLost("the server did not answer in time; the connection was dropped"))
        elif look_again < math.inf:
            self._set_timer(look_again)

    def _expire_run(self, run: Run, end: int, now: float) -> float:
        """Fail the late commands of `run`, and return when to look at it again."""
        again = math.inf
        start = max(0, run.first - self._answered)
        late = f"no reply in {run.timeout:.3g} s"
        if start == 0:
            start = 1
            if now < run.deadline + (LONGEST - 1) * run.timeout and self.growing(run.timeout / 4):
                again = now + run.timeout / 4  # a big reply that keeps arriving is not late
            else:
                fail(self._waiters[0], CommandTimeout(late))
        start = max(start, run.failed - self._answered)
        run.failed = min(end, self._answered + start + SLICE)
        for waiter in islice(self._waiters, start, run.failed - self._answered):
            fail(waiter, CommandTimeout(late))
        return again if run.failed == end else self._loop.time()  # the rest in the next turn, as with replies

    def _doubt(self, run: Run, now: float) -> float:
        """Take no more commands once the server was silent for long, owing a reply; return when to look again."""
        # A caller's own deadline may be short, and says nothing about the connection.
        suspicious = max(self._heard, run.deadline - run.timeout) + SILENCE
        if now < suspicious:
            return suspicious
        self._silent = True
        self.capacity = 0
        return now + SILENCE

    def growing(self, seconds: float) -> bool:
        """Return whether a piece of a reply is here, and enough of it came within the last so many seconds."""
        now = self._loop.time()
        if not self._partial or not self._waiters or now - self._heard >= seconds:
            return False
        number = self._answered, len(getattr(self._waiters[0], "replies", ()))  # in a batch, one of many
        return self.limits.grows(number, self.bytes_received, seconds, now)

    def rest(self) -> None:
        """Take no more commands until `wake` has found that the server still answers."""
        self.resting, self.capacity = True, 0

    def wake(self) -> None:
        """Ask the server for a sign of life; without one in time the connection ends."""
        if self._waking or self.error is not None:
            return
        self._waking = True
        self.send(pack(("PING",)), True, WAKE).add_done_callback(self._woken)

    def _woken(self, pong: asyncio.Future[Any]) -> None:
        self._waking = False
        if isinstance(pong.exception(), CommandTimeout):
            self.end(ConnectionLost("the server did not answer after the connection had idled; it was dropped"))
        self.resting = False  # also after an error reply: it is one
        self._set_capacity()

    # --- The end -----------------------------------------------------------------------------------------------------

    @property
    def viable(self) -> bool:
        """Whether commands can still be sent."""
        return self.error is None

    def usage(self) -> tuple[int, int, int]:
        """Return the commands, bytes sent and bytes received so far."""
        return self._answered + self.in_flight + self._in_batches, self.bytes_sent, self.bytes_received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; commands are taken once `opened` says so."""
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._wire.attach(transport)

    def opened(self) -> None:
        """Take commands: the handshake is done."""
        self._ready = True
        self._set_capacity()

    def close(self, why: str = "the connection was closed by this client") -> None:
        """End the connection; what was given to the transport is still sent, within a second."""
        self.end(ConnectionLost(why), abort=False)

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, Parser]:
        """Give socket and parser to `protocol` for good, while nothing is under way; it passes `connection_lost` on.

        Raises ConnectionLost if the connection has ended.
        """
        if self._transport is None or self.error is not None or self.in_flight:
            raise self._lost("not sent")
        self.capacity = 0
        self.lent = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.set_protocol(protocol)
        return self._transport, self._parser

    def end(self, error: RedisError, *, abort: bool = True) -> None:
        """Take no more commands; `connection_lost` follows and fails those under way with `error`."""
        if self._loop.is_closed():
            self.sever()
        if self.error is not None:
            return
        if self._outgoing:
            self._flush()
        self.error = error
        self.capacity, self._run_timeout = 0, _NO_RUN  # the next `send` comes by `_start_run`, and is refused there
        self._wire.end(self._loop, abort)

    def sever(self) -> None:
        """End the connection without its loop, which may be closed; nobody is told before that runs again."""
        self.error = self.error or ConnectionLost("the connection was cut: its event loop does not run")
        self.capacity, self._run_timeout = 0, _NO_RUN
        self._wire.cut()

    def unsent(self, future: asyncio.Future[Any]) -> bool:
        """Return whether the command of `future` has certainly not left."""
        return future in islice(self._waiters, max(0, self._flushed - self._answered), None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every waiter whose reply is not here: nothing more will come."""
        while self._more and self.error is None:
            self._read()
        self._more = False
        if self.error is None:
            self.error = ConnectionLost(f"the server closed the connection{f' ({exc})' if exc is not None else ''}")
            self.error.__cause__ = exc
        self.capacity, self._run_timeout = 0, _NO_RUN
        if self._timer is not None:
            self._timer.cancel()
        for number, waiter in enumerate(self._waiters, self._answered):
            error = self._lost("not sent" if number >= self._flushed else "unknown")
            error.deadline = deadline_of(self._runs, number)
            fail(waiter, error)
        # What nobody answered stays in `usage`, but is not under way any more.
        self._answered += self.in_flight
        self.in_flight = 0
        self._waiters.clear()
        self._outgoing.clear()
        self._wire.lost()
        if self.renewal is not None:
            self.renewal.end()
        self.on_end(self)
        self._on_close(self)

    def _lost(self, outcome: Outcome) -> RedisError:
        return copy_with_outcome(self.error or ConnectionLost("the connection was lost"), outcome)
