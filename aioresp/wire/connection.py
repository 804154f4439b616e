"""Multiplexed connection to one server: one socket, commands out, replies in, each to its caller.

Owns a FIFO of waiters in the order of the commands on the wire. A waiter leaves it only when its reply has been read,
even if its caller has gone. So replies and callers cannot be off by one. Never knows pools or command groups, and never
sends anything twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from aioresp.errors import (
    ERROR_TYPES,
    CommandTimeout,
    ConnectionLost,
    DecodeError,
    Outcome,
    RedisError,
    ReplyTooLarge,
    copy_with_outcome,
)
from aioresp.wire.batch import Batch, Finished, Unfinished, fail, write_chunks
from aioresp.wire.deadlines import SILENCE, SLICE, WAKE, Deadlines
from aioresp.wire.decoding import Decoding
from aioresp.wire.faults import undecodable
from aioresp.wire.greeting import Greeting
from aioresp.wire.limits import LARGE, ReplyLimits, Traffic
from aioresp.wire.listeners import EndListener, Listeners, PushListener
from aioresp.wire.packing import INCOMPLETE, Packed, Parser, Push, pack
from aioresp.wire.states import FULL, HEALTH, PARTIAL, READY, SLICED, WHOLE, Event, Health
from aioresp.wire.transports import READ_SIZE, Intake, Wire

if TYPE_CHECKING:
    from aioresp.wire.batch import Waiter
    from aioresp.wire.cork import Cork
    from aioresp.wire.renewal import Renewal

#: Bytes of large arguments that one turn of the loop may collect before the connection takes no more commands.
BACKLOG: Final = 4 * 1024 * 1024

#: Bytes for which each socket has room while no command is under way.
SMALL: Final = 4096

#: Commands in flight from which on a write does not wait for the end of the turn: the server works meanwhile.
EAGER: Final = 40

#: Most inquiries after one silence, and the seconds between two of them.
INQUIRIES: Final = 10
INQUIRY_PAUSE: Final = 0.25

_NOT_PLAIN: Final = frozenset({Push, DecodeError, *ERROR_TYPES})
_NO_RUN: Final[Any] = object()


def _ignore(*_: Any) -> None: ...


class Connection(asyncio.Protocol):
    """A connection that takes up to `concurrency` commands at a time.

    `Health` tells whether it takes any, and `Reading` whether arrived replies are still to be handed out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, concurrency: int, max_reply: int | None = None) -> None:
        self.in_flight = 0
        """Number of commands under way; a batch counts as one."""
        self.capacity = 0
        """Number of commands that it takes at present: `concurrency` or more while `READY`, else 0."""
        self.lent = False
        """Set when a lease or a listener has the connection alone, cleared when the pool shares it again."""
        self.health = Health.HANDSHAKE
        """Whether it takes commands, and why if not; see `Health`."""
        self.error: RedisError | None = None
        """The reason of its end; None until then."""
        self.greeting = Greeting()
        """The words of the server about itself, from the handshake."""
        self.renewal: Renewal | None = None
        """The renewal of its credentials, if these come from a provider."""
        self.traffic = Traffic()
        """The counts of its bytes and of commands in batches."""
        self.limits = ReplyLimits(max_reply, self.traffic)
        """The limits on incomplete replies, late replies and unsolicited pushes."""
        self.listeners = Listeners(loop, self.limits.drop)
        """The listeners for its pushes and for its end."""
        self._concurrency = concurrency
        self._on_room: Callable[[], None] = _ignore
        self._loop = loop
        self._create_future = loop.create_future
        self._wire = Wire(loop)
        self._parser = Parser(max_reply)
        self._waiters: deque[Waiter] = deque()
        self._outgoing: list[Packed] = []  # the commands of this turn that have not been written
        self._lone = False  # set by a write of one command with nothing else in flight, cleared by others and by `join`
        self._write_at = 0  # the number in flight from which on a write does not wait for the end of the turn
        self._answered = 0  # the commands whose replies were read; a batch counts as one
        self._reading = WHOLE
        self._run_timeout: float | None = _NO_RUN  # the time limit of the last command of this turn
        self._deadlines = Deadlines(loop, self._expire)
        self._decoding = Decoding()

    def __repr__(self) -> str:
        if self.error is not None:
            return "Connection(closed)"
        said = "" if self.health is READY else f", {self.health.value}"
        return f"Connection({self.in_flight} in flight{said})"

    @property
    def id(self) -> int | None:
        """The server's number for the connection, if it is known."""
        return self.greeting.id

    @property
    def number(self) -> int:
        """Its number among all connections of the process, which error replies carry as `origin`."""
        return self.traffic.number

    @property
    def server(self) -> str | None:
        """The identity of the server's process, if it is known: a proxy may lead each connection to another one."""
        return self.greeting.run_id

    @property
    def peer(self) -> object:
        """The address of the server's end of the socket; None if it is not known."""
        return self._wire.peer

    @property
    def resting(self) -> bool:
        """Whether it takes no commands until `wake` has found that the server still answers."""
        return self.health in (Health.RESTING, Health.WAKING)

    @property
    def has_more(self) -> bool:
        """Whether complete replies may be left for the next turn of the loop."""
        return self._reading in (SLICED, FULL)

    @property
    def _transport(self) -> asyncio.Transport | None:
        return self._wire.transport

    def attach(
        self, on_room: Callable[[], None], on_close: EndListener, on_doubt: Callable[[Any], None] = _ignore
    ) -> None:
        """Call `on_room` when more commands may be taken, and `on_close` with the connection at its end.

        `on_doubt` is called with the connection when the server owes replies and has been silent for a second, and
        again after longer silences.
        """
        self._on_room = on_room
        self._deadlines.on_doubt = on_doubt
        self.listeners.add_end(on_close)

    def detach(self, on_close: EndListener) -> None:
        """Undo `attach`, because the pool has given the connection away."""
        self._on_room = _ignore
        self.listeners.remove_end(on_close)

    def put_under(self, cork: Cork) -> None:
        """Let the ends of its turns wait for the replies of the cork's other connections."""
        self._wire.put_under(cork)

    def add_push_listener(self, listener: PushListener) -> None:
        """Call `listener` with each push, undecoded, before the reply behind it is handed out."""
        self.listeners.add_push(listener)

    def remove_push_listener(self, listener: PushListener) -> None:
        """Call `listener` no more. Raises ValueError if it was not added."""
        self.listeners.remove_push(listener)

    def add_end_listener(self, listener: EndListener) -> None:
        """Call `listener` with the connection at its end, when all callers have been told."""
        self.listeners.add_end(listener)

    def remove_end_listener(self, listener: EndListener) -> None:
        """Call `listener` no more. Raises ValueError if it was not added."""
        self.listeners.remove_end(listener)

    def _move(self, event: Event) -> None:
        """Change the health by its table, and with it the capacity."""
        if (following := HEALTH.get((self.health, event))) is not None:
            self.health = following
            self.capacity = self._concurrency if following is READY else 0
            if following is READY:
                self._on_room()

    # --- Out ---------------------------------------------------------------------------------------------------------

    def send(
        self,
        packed: Packed,
        decode: bool = True,
        timeout: float | None = None,
        future: asyncio.Future[Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Send a command with this turn's others and return the future of its raw reply.

        The future gets ConnectionLost if the connection ends first, and CommandTimeout after `timeout` seconds. It gets
        the ResponseError of an error reply, and with `decode` a DecodeError if the reply is not UTF-8. Raises
        ConnectionLost if the connection has ended already.
        """
        if timeout is not self._run_timeout:
            self._start_run(timeout)
        if future is None:
            future = self._create_future()
        if decode is not self._decoding.last:
            self._decoding.flip(self._answered + self.in_flight)
        if type(packed) is list:
            self._wire.backlog += sum(map(len, packed))
            if self._wire.backlog > BACKLOG:
                self.capacity = 0
        self._outgoing.append(packed)
        self._waiters.append(future)
        self.in_flight += 1
        if self.in_flight >= self._write_at:
            self._write()
        return future

    def send_batch(self, packed: Packed, batch: Batch, timeout: float | None = None) -> None:
        """Send a batch with this turn's others; it counts as one command. Raises ConnectionLost as `send` does."""
        self.send(packed, batch.attach(self, self._parser), timeout, cast(Any, batch))
        self.traffic.batched += len(batch) - 1

    def join(self) -> None:
        """Write the commands of this turn together, also if nothing else is in flight."""
        self._lone = False

    def _start_run(self, timeout: float | None) -> None:
        """Note the deadline of the commands that follow; the first of a turn also schedules the write."""
        if self.error is not None:
            raise self._lost("not sent")
        if not self._outgoing:
            # A lone caller that sends one command after another need not wait for the turn's end: no others follow.
            if self._lone and not self.in_flight:
                self._write_at = 1
            else:
                self._write_at = self.in_flight + max(EAGER, self.in_flight // 2)
                self._wire.soon(self._flush)
        self._run_timeout = timeout
        self._deadlines.begin(timeout, self._answered + self.in_flight, self._answered)

    def _flush(self) -> None:
        """End the turn: write the commands that have not been written."""
        self._run_timeout = _NO_RUN
        if self._outgoing:
            self._deadlines.written()
            self._write()

    def _write(self) -> None:
        """Write this turn's commands, even if paused since they were sent: `capacity` keeps later callers away."""
        outgoing, self._outgoing = self._outgoing, []
        self._lone = self.in_flight == 1
        if self._lone:
            self._run_timeout = _NO_RUN
        self._write_at = self.in_flight + max(EAGER, self.in_flight // 2)
        wire = self._wire
        if wire.transport is None or self.error is not None:
            return
        if wire.backlog:
            size = wire.run(write_chunks, wire.transport, outgoing)
            self.traffic.sent += size
            self._watch(size)
            wire.backlog = 0
            if self.health is READY:
                self.capacity = self._concurrency
                self._on_room()
        else:
            data = b"".join(outgoing)  # type: ignore[arg-type]  # no backlog: all of them are bytes
            self.traffic.sent += len(data)
            if self._lone and len(data) <= SMALL:
                wire.transport.write(data)
            else:
                wire.run(wire.transport.write, data)
            if len(data) > LARGE:
                self._watch(len(data))

    def _watch(self, size: int) -> None:
        """Watch the progress of a large write, whose last command is the last of those in flight."""
        self._wire.watch(self._loop, self.traffic, size, self._answered, self._answered + self.in_flight)

    def pause_writing(self) -> None:
        """Take no more commands until the transport's buffer has drained."""
        self._move(Event.FULL)

    def resume_writing(self) -> None:
        """Take commands again."""
        self._move(Event.DRAINED)

    # --- In ----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self.traffic.received += len(data)
        self._deadlines.heard = self._loop.time()
        if (cork := self._wire.cork) is not None:
            cork.heard += 1
        self._parser.feed(data, self._reading is not WHOLE)
        if self._reading is WHOLE or self._reading is PARTIAL:
            self._read()
        elif self._reading is SLICED and self._parser.waiting > ReplyLimits.BACKLOG:
            # Tiny replies arrive faster than they are handed out. A hostile server may push without end.
            assert self._wire.transport is not None
            self._reading = FULL
            self._wire.transport.pause_reading()
        if len(data) > READ_SIZE and self._wire.transport is not None:
            self._wire.transport.set_protocol(Intake(self, self._wire.transport))

    def _read(self) -> None:
        """Hand each complete reply to the waiter at the head of the FIFO: a slice of them now, the rest next turn.

        So callers continue while their replies are still in the processor's cache. And the garbage collector never
        meets tens of thousands of finished calls at once.
        """
        waiters = self._waiters
        flips = self._decoding.flips
        popleft = waiters.popleft
        gets = self._parser.gets
        has_data = self._parser.has_data
        decode = self._decode_of_next() if flips else self._decoding.next
        slice_ = iter(range(SLICE))
        while True:
            try:
                for taken in slice_:
                    if not has_data():
                        if self._reading is not WHOLE:
                            self._reading = WHOLE
                            self._parser.forget()
                        break
                    reply = gets(decode)
                    if reply is INCOMPLETE:
                        if taken or self._reading is WHOLE:
                            self._reading = PARTIAL
                            self.limits.begin()
                        elif self.limits.too_large():
                            self._break(self.limits.refuse())
                        break
                    if type(reply) is not str and type(reply) in _NOT_PLAIN:
                        self._take_odd(reply)
                    else:
                        try:
                            popleft().set_result(reply)
                        except asyncio.InvalidStateError:
                            pass  # the caller has gone; its reply was read all the same
                    if flips:
                        decode = self._decode_of_next()
                else:
                    self._reading = SLICED
                    self.limits.begin()
                    self._loop.call_soon(self._read_on)
                break
            except UnicodeDecodeError as error:
                if not waiters:
                    self.end(self.limits.unasked())
                    break
                self._fail_next(undecodable(error))
                decode = self._decode_of_next()
            except Finished:
                gets, has_data = self._parser.gets, self._parser.has_data
                decode = self._decode_of_next()
            except Unfinished:
                self._reading = PARTIAL  # assume so until the next read
                self.limits.begin()
                break
            except IndexError:
                self.end(self.limits.unasked())
                break
            except Exception as error:
                if not self._parser.recover(error):
                    self._break(error)
                    break
                gets, has_data = self._parser.gets, self._parser.has_data
        self._answered += self.in_flight - len(waiters)
        self.in_flight = len(waiters)
        if self.health is Health.SILENT or self.health is Health.STUCK:
            self._move(Event.HEARD)
        else:
            self._on_room()

    def _read_on(self) -> None:
        """Begin the turn after a slice."""
        began = self._reading
        if began is SLICED or began is FULL:
            self._reading = PARTIAL
            self._read()
        if began is FULL:
            if self._reading is SLICED:
                self._reading = FULL
            elif self._wire.transport is not None and self.error is None:
                self._wire.transport.resume_reading()

    def _break(self, error: Exception) -> None:
        if isinstance(error, ReplyTooLarge) and self._waiters:
            fail(self._waiters[0], error)
        self.end(self._parser.broken(error))

    def _decode_of_next(self) -> bool:
        return self._decoding.of(self._answered + self.in_flight - len(self._waiters))

    def _take_odd(self, reply: Any) -> None:
        if type(reply) is Push:
            self.listeners.hear(reply)
        else:
            reply.origin = self.traffic.number
            reply.deadline = self._deadlines.of(self._answered + self.in_flight - len(self._waiters))
            self._fail_next(reply)

    def _fail_next(self, error: RedisError) -> None:
        if type(waiter := self._waiters.popleft()) is Batch:
            waiter.take_error(error)  # also if its caller has gone: there are more replies to it
        else:
            fail(waiter, error)

    def hear(self, push: list[Any]) -> None:
        """Tell the listeners of a push."""
        self.listeners.hear(push)

    def stay(self, batch: Batch) -> None:
        """Put a batch, to which more replies are to come, back to the head of the FIFO."""
        self._waiters.appendleft(batch)

    # --- Deadlines ---------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        """Fail the commands whose deadline has passed; their replies are read and dropped when they arrive."""
        if self._deadlines.read_first(self.traffic.received, self.has_more):
            return
        punctual = self._deadlines.punctual()
        arrives = self._wire.arrives(self._answered)
        if self._deadlines.expire(self._waiters, self._answered, self.growing, arrives):
            self._move(Event.DOUBTED)
        if self._deadlines.quiet(len(self._waiters), self._answered, arrives) and not self.resting:
            self._deadlines.on_doubt(self)
        silent = self.health is Health.SILENT or self.health is Health.STUCK
        if silent and punctual and all(waiter.done() for waiter in self._waiters):
            # The server is silent, and no caller waits for the replies that it owes: give the connection up. Not if the
            # timer was late: then this process stood still, and may not have read replies that have arrived.
            self.end(ConnectionLost("the server did not answer in time; the connection was dropped"))
        else:
            self._deadlines.look_again()

    def growing(self, seconds: float) -> bool:
        """Return whether a partial reply is here, of which enough arrived within the last so many seconds."""
        now = self._loop.time()
        if self._reading is WHOLE or not self._waiters or now - self._deadlines.heard >= seconds:
            return False
        waiter = self._waiters[0]
        number = self._answered, len(waiter.replies) if type(waiter) is Batch else 0  # its index, in a batch
        return self.limits.grows(number, seconds, now)

    async def inquire(self, witness: Connection) -> bool | None:
        """Return whether the server has forgotten this silent connection, or hears it no more.

        It asks over `witness`, and returns None if there is no answer, or if someone has that one alone by now.
        """
        from aioresp.wire.inquiry import Verdict, inquire  # noqa: PLC0415 (few connections fall silent)

        gone = False
        for _ in range(INQUIRIES):
            heard = self._deadlines.heard
            if self.error is not None or not self.in_flight or self._loop.time() - heard < SILENCE:
                break
            if witness.lent:
                return None  # the question could come into a transaction, or its answer to a listener
            verdict = await inquire(self, witness, self._wire.age)
            if self._deadlines.heard != heard:
                break
            if verdict is Verdict.NO_ANSWER:
                return None
            if verdict is Verdict.ALIVE:
                break
            # A server that was busy may answer the witness first, and this connection in the next moment.
            if gone and verdict is Verdict.GONE:
                return True
            gone = verdict is Verdict.GONE
            self._move(Event.DOUBTED)  # others are served meanwhile: nothing more is sent here
            await asyncio.sleep(INQUIRY_PAUSE)
        return False

    def give_up(self) -> None:
        """End the connection, which the server has forgotten or hears no more."""
        self.end(ConnectionLost("the server answers on other connections, but this one is dead; it was dropped"))

    def stretch(self) -> None:
        """Take `concurrency` more commands, until `relax`: the pool is making another connection."""
        self.capacity += self._concurrency

    def relax(self) -> None:
        """Take no more commands than before `stretch`."""
        self.capacity = min(self.capacity, self._concurrency)

    def rest(self) -> None:
        """Take no more commands until `wake` has found that the server still answers."""
        self._move(Event.RESTED)

    def wake(self) -> None:
        """Ask a resting server for a sign of life; without one in time the connection ends."""
        if self.health is Health.RESTING:
            self._move(Event.WOKEN)
            self.send(pack(("PING",)), True, WAKE).add_done_callback(self._woken, context=Context())

    def _woken(self, pong: asyncio.Future[Any]) -> None:
        if isinstance(pong.exception(), CommandTimeout):
            self.end(ConnectionLost("the server did not answer after the connection had idled; it was dropped"))
        self._move(Event.ANSWERED)  # an error reply is a sign of life, too

    # --- The end -----------------------------------------------------------------------------------------------------

    @property
    def viable(self) -> bool:
        """Whether commands can still be sent."""
        return self.error is None

    def usage(self) -> tuple[int, int, int]:
        """Return the commands, bytes sent and bytes received so far."""
        return self._answered + self.in_flight + self.traffic.batched, self.traffic.sent, self.traffic.received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; commands are taken once `opened` says so."""
        self._wire.attach(cast(asyncio.Transport, transport))  # uvloop's are no subclass

    def opened(self) -> None:
        """Take commands: the handshake is done."""
        self._move(Event.OPENED)

    def close(self, why: str = "the connection was closed by this client") -> None:
        """End the connection; bytes in the transport are still sent, within a second."""
        self.end(ConnectionLost(why), abort=False)

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, Parser]:
        """Give socket and parser to `protocol` for good, while nothing is under way; it forwards `connection_lost`.

        Raises ConnectionLost if the connection has ended.
        """
        transport = self._wire.transport
        if transport is None or self.error is not None or self.in_flight:
            raise self._lost("not sent")
        self._move(Event.HANDED_OVER)
        self.lent = True
        self._deadlines.stop()
        transport.set_protocol(protocol)
        return transport, self._parser

    def end(self, error: RedisError, *, abort: bool = True) -> None:
        """Take no more commands; `connection_lost` follows, and fails those under way with `error`."""
        if self._loop.is_closed():
            self.sever()
        if self.error is not None:
            return
        if self._outgoing:
            self._flush()
        self._over(error)
        self._wire.end(self._loop, abort)

    def sever(self) -> None:
        """End the connection without its loop, which may be closed; callers hear of it if the loop runs again."""
        self._over(self.error or ConnectionLost("the connection was cut: its event loop does not run"))
        self._wire.cut()

    def _over(self, error: RedisError) -> None:
        self.error = error
        self._move(Event.ENDED)
        self._run_timeout = _NO_RUN  # the next `send` calls `_start_run`, and is refused there

    def unsent(self, future: asyncio.Future[Any]) -> bool:
        """Return whether the command of `future` has certainly not been sent."""
        return future in islice(self._waiters, max(0, self.in_flight - len(self._outgoing)), None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand out the replies that have arrived, and fail all other waiters."""
        while self.has_more:
            self._reading = PARTIAL
            if self.error is None:
                self._read()
        if self.error is None:
            error = ConnectionLost(f"the server closed the connection{f' ({exc})' if exc is not None else ''}")
            error.__cause__ = exc
            self._over(error)
        self._deadlines.stop()
        left = self._answered + len(self._waiters) - len(self._outgoing)
        for number, waiter in enumerate(self._waiters, self._answered):
            lost = self._lost("not sent" if number >= left else "unknown")
            lost.deadline = self._deadlines.of(number)
            fail(waiter, lost)
        # `usage` still counts the commands without a reply.
        self._answered += self.in_flight
        self.in_flight = 0
        self._waiters.clear()
        self._outgoing.clear()
        self._wire.lost()
        if self.renewal is not None:
            self.renewal.end()
        self.listeners.end(self)

    def _lost(self, outcome: Outcome) -> RedisError:
        return copy_with_outcome(self.error or ConnectionLost("the connection was lost"), outcome)
