"""Connection of redis-py without a socket: it carries out on a shared client what redis-py sends.

Owns the commands between `send_command` and `read_response`, and the state that some of them begin: a lease for WATCH
or SELECT, a subscription, a monitor. Never keeps a lease that no command has changed. Never sends anything twice.
"""

from __future__ import annotations

import asyncio
import math
from builtins import TimeoutError as OutOfTime
from collections import UserList, deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from redis._parsers import Encoder
from redis.asyncio import connection as theirs
from redis.asyncio import sentinel
from redis.asyncio.retry import Retry
from redis.exceptions import ConnectionError, NoPermissionError, ResponseError, TimeoutError

from aioresp.client import Client
from aioresp.command import PLAIN
from aioresp.errors import ArgumentError, CommandRefused, ConnectionLost, UnknownCommandError
from aioresp.errors import NoPermissionError as NoPermission
from aioresp.errors import RedisError as Failure
from aioresp.facts.traits import traits
from aioresp.pubsub.raw import COMMANDS, monitor_line
from aioresp.redis.errors import translated, with_errors
from aioresp.redis.shared import Shared, join, leave
from aioresp.replies import as_is
from aioresp.wire.packing import split

if TYPE_CHECKING:
    from aioresp.contexts.lease import Lease
    from aioresp.pubsub.monitor import Monitor
    from aioresp.pubsub.raw import RawSubscriber

    Base = theirs.Connection
else:
    Base = object

#: Names of plain commands as redis-py's own methods write them, without those whose replies may hold a script's errors.
SIMPLE: Final = frozenset(name for name in PLAIN if isinstance(name, str) and name.isupper()) - frozenset(
    ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO")
)

#: One command, as a tuple of its arguments.
Words = tuple[Any, ...]


class Once:
    """Retry policy of redis-py, cut down to one call: aioresp beneath it sends again what is safe to send again.

    A second INCR after a lost reply would count twice.
    """

    #: Set while the connection hears of a failure, cleared when it has.
    failing = False

    def __init__(self, policy: Retry) -> None:
        self.policy = policy

    def __getattr__(self, name: str) -> Any:
        if name == "policy":
            raise AttributeError(name)  # while it is copied
        return getattr(self.policy, name)

    async def call_with_retry(self, do: Callable[[], Awaitable[Any]], fail: Any, *_: Any, **options: Any) -> Any:
        """Call once. After an error of the connection, tell `fail`, and raise the error."""
        try:
            return await do()
        except (ConnectionError, TimeoutError, OSError) as error:
            self.failing = True
            try:
                await (fail(error, 1) if options.get("with_failure_count") else fail(error))
            finally:
                self.failing = False
            raise


#: Method of redis-py's parser that returns a message as it is; a user may set another.
RETURNS: Final = getattr(theirs.DefaultParser, "handle_pubsub_push_response", None)


class Batch(UserList[Any]):
    """Commands of a pipeline, as redis-py hands them from `pack_commands` to `send_packed_command`.

    To others it is the bytes that redis-py would send, packed when they are first looked at.
    """

    def __init__(self, commands: list[Words], pack: Callable[[Iterable[Any]], list[Any]]) -> None:
        self.commands = commands
        self._pack = pack

    @cached_property
    def data(self) -> list[Any]:  # type: ignore[override]
        """The packed commands."""
        return self._pack(self.commands)


class Engine(Base):
    """Mixin in front of a connection class of redis-py, in place of its socket."""

    raw: Client[bytes]
    """Client of bytes; set by `connect`."""
    text: Client[Any]
    """Client that decodes replies as redis-py would; one of bytes where redis-py has to decode them itself."""

    def __init__(self, **options: Any) -> None:
        options["parser_class"] = theirs.DefaultParser  # that of hiredis: a listener can be its stream
        super().__init__(**options)
        #: Set by `connect`, cleared by `disconnect`.
        self._shared: Shared | None = None
        #: Commands and batches that were sent, and whose replies are not read.
        self._sent: deque[Words | Batch] = deque()
        #: Replies to a batch that are not read.
        self._replies: deque[Any] = deque()
        self._lease: Lease[bytes] | None = None
        self._listener: RawSubscriber | None = None
        self._monitor: Monitor[bytes] | None = None
        #: Limits of the blocking commands under way, each with its loop: `disconnect` lets them end.
        self._blocked: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        #: Loop of the listener or monitor.
        self._loop: asyncio.AbstractEventLoop | None = None
        encoder: Any = self.encoder
        self._encode: Callable[[Any], Any] = encoder.encode
        usual = encoder.encoding.lower() in ("utf-8", "utf8") and encoder.encoding_errors == "strict"
        #: Whether redis-py has to encode and decode: the encoding is not strict UTF-8, or the encoder is a user's own.
        self.recodes = not usual or type(encoder) is not Encoder
        decode = encoder.decode if self.recodes else bytes.decode  # which does the same for bytes
        self._decode: Callable[[Any], Any] | None = decode if encoder.decode_responses else None

    def __del__(self, *_: Any) -> None:
        super().__del__()
        self._give_back()
        self._end_soon()

    # --- Coming and going --------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether it has a client; says nothing about the server."""
        return self._shared is not None

    @property
    def address(self) -> str:
        """The server as redis-py's errors name it."""
        return self._host_error()

    async def connect(self) -> None:
        """Join the shared client, unless a failure is being handled: then the next command joins it."""
        if self._shared is None and not self.retry.failing:
            await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        try:
            self._shared = join(self)
        except ArgumentError as error:
            raise ConnectionError(str(error)) from error
        self._reader: Any = self._shared  # a mark for redis-py, which only asks whether there is one
        self.raw = self._shared.client.with_options(timeout=self.socket_timeout or None)
        self.text = self.raw.with_options(decode_responses=self._decode is not None and not self.recodes)

    async def on_connect(self, *_: Any, **__: Any) -> None:
        """Ask the server once for each event loop whether it answers, and raise redis-py's error if it does not."""
        shared = self._shared  # another task may disconnect while the server is asked
        assert shared is not None
        self._parser.on_connect(self)  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()
        if loop not in shared.greeted:
            try:
                await self._perform(self.raw, ("PING",))
            except NoPermissionError:
                pass  # it has answered
            shared.greeted.add(loop)

    on_connect_check_health = on_connect

    async def renew(self, _: object) -> None:
        """Let the shared client log in again, as its credential provider has a new token."""
        if self._shared is not None:
            self._shared.client.node.retire(ConnectionLost("a new token came; the connection was left", "not sent"))

    async def check_health(self) -> None:
        """Do nothing: the shared client looks after its connections."""

    async def disconnect(self, nowait: bool = False, *_: Any, **__: Any) -> None:
        """Forget what was sent, and end what was begun. The last user of the shared client closes it."""
        shared, listener, monitor = self._shared, self._listener, self._monitor
        self._listener = self._monitor = None
        self._close()
        self._shared = None
        while self._blocked:
            limit, loop = self._blocked.popitem()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_expire, limit, context=Context())
        if listener is not None:
            await listener.__aexit__(None, None, None)
        if monitor is not None:
            await monitor.__aexit__(None, None, None)
        if shared is not None and leave(shared, self, keep=self.retry.failing) and not nowait:
            await shared.client.aclose()

    def _close(self) -> None:
        """End what was begun. It stays a user of the shared client: a client that was dropped calls this, too."""
        super()._close()  # type: ignore[no-untyped-call]
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]
        if hasattr(self, "reset_should_reconnect"):  # since 7.1
            self.reset_should_reconnect()  # type: ignore[no-untyped-call]
        self._sent.clear()
        self._replies.clear()
        self._give_back()
        self._end_soon()
        self._listener = self._monitor = self._reader = None

    @property
    def retry(self) -> Any:
        """The policy that was given, cut down to one call."""
        return self._once

    @retry.setter
    def retry(self, policy: Retry) -> None:
        self._once = Once(policy)

    # --- Sending -----------------------------------------------------------------------------------------------------

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> Any:
        """Return the commands of a pipeline, for `send_packed_command`."""
        return Batch([self.words(tuple(command)) for command in commands], super().pack_commands)

    async def send_command(self, *arguments: Any, **_: Any) -> None:
        """Keep a command until its reply is read. Those of subscribers are carried out now."""
        words = self.words(arguments)
        if self._shared is None:
            await self.connect()
        if words[0] not in PLAIN or self._listener is not None:
            name = traits(words[:1]).name
            if name in COMMANDS or (self._listener is not None and name == "PING"):
                await self._tell(words)
                return
        self._sent.append(words)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Keep the commands of a pipeline until the first reply is read."""
        if self._shared is None:
            await self.connect()
        if command.__class__ is Batch:  # an abstract class is slow to ask
            self._sent.append(command)
            return
        data = command.encode() if isinstance(command, str) else command
        for words in split(data if isinstance(data, bytes) else b"".join(data)):
            await self.send_command(*words)

    def words(self, arguments: Words) -> Words:
        """Return the arguments as they are sent, after a split of the first one into its words."""
        first: Any = arguments[0]
        space: Any = " " if isinstance(first, str) else b" "
        if space in first:
            arguments = (*first.split(), *arguments[1:])
        return self._encoded(arguments) if self.recodes else arguments

    def _encoded(self, words: Words) -> Words:
        """Return the arguments as redis-py encodes them. Raises its errors."""
        return words[0], *map(self._encode, words[1:])

    # --- Reading -----------------------------------------------------------------------------------------------------

    async def can_read(self, *_: Any, **__: Any) -> bool:
        """Return whether something is left to be read."""
        return bool(self._replies or self._sent or (self._listener is not None and self._listener.waiting))

    can_read_destructive = can_read

    def should_reconnect(self) -> bool:
        """Return whether replies are left, because a callback raised: the next user must not read them."""
        return bool(self._replies or self._sent or super().should_reconnect())  # type: ignore[no-untyped-call]

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        """Carry out the next command that was sent, and return its reply; or return the next message."""
        if push_request and self._listener is not None and not self._sent and not self._replies:
            # Most messages are here already. redis-py's parser would do nothing with one but to return it.
            handler = getattr(self._parser, "pubsub_push_handler_func", None)
            if getattr(handler, "__func__", None) is RETURNS and not self.health_check_interval:
                message = self._listener.take()
                if message is not None:
                    return message if disable_decoding else self.decode(message)
        try:
            if self._replies:
                reply = self._replies.popleft()
            elif self._sent and timeout is not None:
                async with asyncio.timeout(None if timeout == math.inf else timeout):
                    return await self.read_response(disable_decoding)
            elif self._sent:
                reply = await self._carry_out(self._sent.popleft())
            elif self._monitor is not None:
                command = await self._monitor.get(None if timeout == math.inf else timeout)
                reply = None if command is None else monitor_line(command)
            else:
                await self._listening()
                return await super().read_response(
                    disable_decoding, timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
                )
        except Failure as error:
            raise translated(error, self.address) from error
        except OutOfTime:
            return None
        except asyncio.CancelledError:
            self._sent.clear()  # a user who goes on must read no earlier reply
            self._replies.clear()
            raise
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, list) and reply and isinstance(reply[0], ConnectionError):
            raise reply[0]  # as redis-py's parser does
        return reply if disable_decoding else self.decode(reply)

    async def _carry_out(self, sent: Words | Batch) -> Any:
        """Return the reply to a command, or the first one to a batch."""
        if self._lease is not None and self._lease.loop is not asyncio.get_running_loop():
            self._give_back()
            raise ConnectionError(
                "the state of this connection (WATCH, SELECT, ...) has ended: it belonged to another event loop"
            )
        if isinstance(sent, Batch):
            self._replies.extend(with_errors(await self._send_batch(sent.commands)))
            return self._replies.popleft()
        if self._lease is None and sent[0] in SIMPLE:
            return await self._perform(self.raw, sent)
        return with_errors(await self._send(sent))

    async def _send(self, words: Words) -> Any:
        """Send one command where it belongs, and return its reply."""
        lease, facts = self._lease, traits(words)
        if facts.name == "MONITOR":
            monitor = self.raw.monitor(overflow="wait")
            await monitor.__aenter__()  # of one that was not entered, `disconnect` would find nothing to end
            self._monitor = monitor
            self._loop = asyncio.get_running_loop()
            return b"OK"
        if lease is None:
            if facts.refusal is None or facts.forbidden:
                call = self._perform(self.raw, words)
                return await (call if facts.timeout is None else self.while_open(call))
            lease = await self._leased()
        begun = lease.changed
        try:
            if not begun and facts.name in ("WAIT", "WAITAOF"):
                await _mark(lease)
            call = self._perform(lease, words)
            return await (call if facts.timeout is None else self.while_open(call))
        except BaseException:
            if not begun:
                self._give_back()  # its user got an error, so redis-py would not end what was begun
            raise
        finally:
            self._settle()

    async def while_open(self, call: Awaitable[Any]) -> Any:
        """Return the reply to a blocking command. Raises ConnectionError when the connection is disconnected."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._blocked[limit] = asyncio.get_running_loop()
                try:
                    return await call
                finally:
                    self._blocked.pop(limit, None)
        except OutOfTime:
            if not limit.expired():  # the server has exceeded the command's own time
                raise
            raise ConnectionError("the connection was closed while a blocking command waited") from None

    async def _perform(self, where: Any, words: Words) -> Any:
        try:
            return await where.execute(words, as_is)
        except ArgumentError:
            words = self._encoded(words)
        except Failure as error:
            raise translated(error, self.address) from error
        return await where.execute(words, as_is)

    def decode(self, reply: Any) -> Any:
        """Return a raw reply with its text decoded, if replies are to be text."""
        if self._decode is None:
            return reply
        kind = type(reply)
        if kind is bytes:
            return self._decode(reply)
        if kind is list:
            return list(map(self.decode, reply))
        if kind is dict:
            return {self.decode(key): self.decode(value) for key, value in reply.items()}
        return reply

    async def _send_batch(self, commands: list[Words]) -> list[Any]:
        """Send the commands of a pipeline, and return their raw replies."""
        whole = len(commands) > 1 and (commands[0], commands[-1]) == (("MULTI",), ("EXEC",))
        facts = [traits(words) for words in (commands[1:-1] if whole else commands) if words[0] not in PLAIN]
        if not whole and any(each.timeout is not None for each in facts):
            return [await self._alone(words) for words in list(map(self._encoded, commands))]
        if self._lease is None and any(each.refusal is not None and not each.forbidden for each in facts):
            await self._leased()
        where = self.raw if self._lease is None else self._lease
        try:
            try:
                return await where.send_raw(commands)
            except ArgumentError:
                commands = [self._encoded(words) for words in commands]
            return await where.send_raw(commands)
        except asyncio.CancelledError:
            self._give_back()  # with a transaction of which nobody knows whether it has run
            raise
        finally:
            self._settle()

    async def _alone(self, words: Words) -> Any:
        """Return the reply to one command of a pipeline that goes one by one, as others of it block; or its error."""
        try:
            return await self._send(words)
        except ResponseError as error:
            return error

    # --- State -------------------------------------------------------------------------------------------------------

    async def _leased(self) -> Lease[bytes]:
        """Take a connection for this one alone."""
        self._lease = lease = await self.raw.connection().__aenter__()
        return lease

    def _settle(self) -> None:
        """Give the lease back unless a command has changed its connection."""
        if self._lease is not None and not self._lease.changed:
            self._give_back()

    def _give_back(self) -> None:
        lease = vars(self).get("_lease")  # there is none if the constructor failed
        self._lease = None
        if lease is None or lease.loop is None or lease.loop.is_closed():
            return
        if lease.loop is asyncio._get_running_loop():
            lease.give_back()
        else:
            lease.loop.call_soon_threadsafe(lease.give_back, context=Context())

    def _end_soon(self) -> None:
        """End a listener or monitor in its loop, where nobody can await it."""
        for begun in (vars(self).get("_listener"), vars(self).get("_monitor")):
            if begun is not None and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_end, begun, context=Context())

    async def _listening(self) -> RawSubscriber:
        if self._shared is None:
            await self.connect()
        listener = self._listener
        if listener is None or not listener.here:
            # After a lost connection, one beneath a Sentinel asks it for the server.
            restore = not isinstance(self, sentinel.SentinelManagedConnection)
            listener = self.raw.subscribe_raw(protocol=3 if self.protocol == 3 else 2, restore=restore)
            await listener.__aenter__()
            self._listener = self._reader = listener
            self._loop = asyncio.get_running_loop()
            self._parser.on_connect(self)  # type: ignore[no-untyped-call]
        return listener

    async def _tell(self, words: Words) -> None:
        """Carry out a command of a subscriber."""
        encoded = [bytes(self._encode(word)) for word in words]
        try:
            await (await self._listening()).send(encoded)
        except Failure as error:
            raise translated(error, self.address) from error


async def _mark(lease: Lease[bytes]) -> None:
    """Publish to a shard channel on a lease, as WAIT waits for what its own connection has propagated last.

    The message comes behind all writes that were answered. No pattern matches shard channels, so nobody hears it.
    """
    try:
        await lease.spublish("aioresp:wait", "")
    except UnknownCommandError:
        pass  # before Redis 7.0, WAIT waits for all writes
    except NoPermission:
        raise CommandRefused("WAIT needs permission for SPUBLISH aioresp:wait, as connections are shared") from None


def _expire(limit: asyncio.Timeout) -> None:
    try:
        limit.reschedule(-math.inf)
    except RuntimeError:
        pass  # the command has ended meanwhile


def _end(begun: RawSubscriber | Monitor[bytes]) -> None:
    asyncio.ensure_future(begun.__aexit__(None, None, None))  # noqa: RUF006 (it never waits)


#: Classes of redis-py, each with the one that takes its place. A subclass of a user's own is left alone.
KINDS: Final[dict[type, type[Any]]] = {
    kind: type(kind.__name__, (Engine, kind), {})
    for kind in (theirs.Connection, theirs.SSLConnection, theirs.UnixDomainSocketConnection)
}
for managed in (sentinel.SentinelManagedConnection, sentinel.SentinelManagedSSLConnection):
    KINDS[managed] = type(managed.__name__, (managed, KINDS[managed.__mro__[1]]), {})
