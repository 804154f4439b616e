"""Connection of redis-py without a socket: it carries out on a shared client what redis-py sends.

Owns the commands between `send_command` and `read_response`, and the state that some of them begin: a lease for WATCH or
SELECT, a subscription, a monitor. Never keeps a lease that no command has changed. Never sends anything a second time.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import connection as theirs
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from aioresp.client import Client
from aioresp.command import PLAIN
from aioresp.errors import ArgumentError
from aioresp.errors import RedisError as Failure
from aioresp.facts.traits import traits
from aioresp.redis.errors import translated, with_errors
from aioresp.redis.listener import COMMANDS, Listener
from aioresp.redis.monitor import as_line
from aioresp.redis.retries import Once
from aioresp.redis.shared import Shared, join, leave
from aioresp.replies import as_is

if TYPE_CHECKING:
    from redis.asyncio.retry import Retry

    from aioresp.contexts.lease import Lease
    from aioresp.pubsub.monitor import Monitor

    Base = theirs.AbstractConnection
else:
    Base = object


class Batch(Sequence[Any]):
    """Commands of a pipeline, as redis-py hands them from `pack_commands` to `send_packed_command`.

    To others it is the bytes that redis-py would send, packed when they are first looked at.
    """

    def __init__(self, commands: list[tuple[Any, ...]], pack: Callable[[Iterable[Any]], list[Any]]) -> None:
        self.commands = commands
        self._pack = pack

    @cached_property
    def _packed(self) -> list[Any]:
        return self._pack(self.commands)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: Any) -> Any:
        return self._packed[index]


class Engine(Base):
    """Mixin in front of a connection class of redis-py, in place of its socket."""

    def __init__(self, **options: Any) -> None:
        options["parser_class"] = theirs.DefaultParser  # that of hiredis: a listener can be its stream
        super().__init__(**options)
        self._shared: Shared | None = None  # set by connect(), cleared by disconnect()
        self.raw: Client[bytes]
        self.text: Client[Any]  # decodes as redis-py would, where a client of ours can
        #: Commands and batches that were sent, and whose replies are not read.
        self._sent: deque[tuple[Any, ...] | Batch] = deque()
        #: Replies to a batch that are not read.
        self._replies: deque[Any] = deque()
        self._lease: Lease[bytes] | None = None
        self._listener: Listener | None = None
        self._monitor: Monitor[bytes] | None = None
        self._callbacks: list[weakref.WeakMethod[Callable[..., Any]]] = []
        encoder = self.encoder
        #: Whether arguments and replies have another encoding than UTF-8, which is then redis-py's to apply.
        self.recodes = encoder.encoding.lower() not in ("utf-8", "utf8") or encoder.encoding_errors != "strict"

    def __del__(self, *_: Any) -> None:
        super().__del__()
        if getattr(self, "_lease", None) is not None:
            self._give_back()

    # --- Coming and going --------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether commands can be sent: no look at the server."""
        return self._shared is not None

    async def connect(self, *_: Any, **__: Any) -> None:
        """Join the shared client, which connects at the first command; then let subscribers subscribe again."""
        if self._shared is not None or self.retry.failing:
            return  # after a failure the next command connects
        try:
            self._shared = join(self)
        except ArgumentError as error:
            raise ConnectionError(str(error)) from error
        self.raw = self._shared.client.with_options(timeout=self.socket_timeout or None)
        decodes = self.encoder.decode_responses and not self.recodes
        self.text = self.raw.with_options(decode_responses=decodes)
        self._parser.on_connect(self)
        try:
            await self._greet(self._shared)
        except BaseException:
            await self.disconnect()
            raise
        for known in list(self._callbacks):
            callback = known()
            if callback is not None:
                done = callback(self)
                if asyncio.iscoroutine(done):
                    await done

    async def _greet(self, shared: Shared) -> None:
        """Raise redis-py's error if the server cannot be reached: the first user in a loop asks."""
        loop = asyncio.get_running_loop()
        if loop not in shared.greeted:
            await self._perform(self.raw, ("PING",))
            shared.greeted.add(loop)
        if self.redis_connect_func is not None:
            done = self.redis_connect_func(self)
            if asyncio.iscoroutine(done):
                await done

    async def connect_check_health(self, *_: Any, **__: Any) -> None:
        """Do as `connect`: the shared client looks after its connections."""
        await self.connect()

    async def on_connect(self) -> None:
        """Do nothing: the shared client has logged in."""

    on_connect_check_health = connect_check_health

    async def check_health(self) -> None:
        """Do nothing: the shared client looks after its connections."""

    def register_connect_callback(self, callback: Callable[..., Any]) -> None:
        """Call a bound method whenever the connection is connected again."""
        method = weakref.WeakMethod(callback)
        if method not in self._callbacks:
            self._callbacks.append(method)

    def deregister_connect_callback(self, callback: Callable[..., Any]) -> None:
        """Do not call it any more."""
        method = weakref.WeakMethod(callback)
        if method in self._callbacks:
            self._callbacks.remove(method)

    async def disconnect(self, nowait: bool = False, *_: Any, **__: Any) -> None:
        """Forget what was sent, and end what was begun. The last user of the shared client closes it."""
        self._forget()
        self._give_back()
        listener, self._listener = self._listener, None
        monitor, self._monitor = self._monitor, None
        shared, self._shared = self._shared, None
        self._reader = None
        self._parser.on_disconnect()
        if hasattr(self, "reset_should_reconnect"):  # since 7.1
            self.reset_should_reconnect()
        if listener is not None:
            await listener.leave()
        if monitor is not None:
            await monitor.__aexit__(None, None, None)
        if shared is not None:
            if self.retry.failing:  # it will be used again
                shared.users.discard(self)
            elif leave(shared, self):
                if nowait:
                    shared.client.node.shut()
                else:
                    await shared.client.aclose()

    def _close(self) -> None:
        super()._close()
        self._forget()
        self._give_back()
        self._shared = None

    def _forget(self) -> None:
        self._sent.clear()
        self._replies.clear()

    @property
    def retry(self) -> Once:
        """The policy that was given, of which one call is left."""
        return self._once

    @retry.setter
    def retry(self, policy: Retry) -> None:
        self._once = Once(policy)

    # --- Sending -----------------------------------------------------------------------------------------------------

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Return the commands of a pipeline, which only `send_packed_command` can read."""
        return Batch([self.words(tuple(command)) for command in commands], super().pack_commands)  # type: ignore[return-value]

    async def send_command(self, *arguments: Any, **_: Any) -> None:
        """Keep a command until its reply is read. Those of subscribers are carried out now."""
        if self._shared is None:
            await self.connect()
        words = self.words(arguments)
        if self._listener is None and words[0] in PLAIN:
            self._sent.append(words)
            return
        name = traits(words[:1]).name
        if name in COMMANDS or (self._listener is not None and name == "PING"):
            await self._tell(words)
        else:
            self._sent.append(words)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Keep the commands of a pipeline until the first reply is read."""
        if self._shared is None:
            await self.connect()
        if isinstance(command, Batch):
            self._sent.append(command)
            return
        data = command.encode() if isinstance(command, str) else command
        for words in unpacked(data if isinstance(data, bytes) else b"".join(data)):
            await self.send_command(*words)

    def words(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments as they are sent; the first one may be several words."""
        first = arguments[0]
        if isinstance(first, str) and " " in first:
            arguments = (*first.split(), *arguments[1:])
        elif isinstance(first, bytes) and b" " in first:
            arguments = (*first.split(), *arguments[1:])
        if self.recodes:
            return (arguments[0], *map(self.encoder.encode, arguments[1:]))
        return arguments

    # --- Reading -----------------------------------------------------------------------------------------------------

    async def can_read(self, *_: Any, **__: Any) -> bool:
        """Return whether a reply can be read that nobody has asked for."""
        return bool(self._replies or self._sent or (self._listener is not None and self._listener.waiting))

    can_read_destructive = can_read

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        """Carry out the next command that was sent, and return its reply; or return the next message."""
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
                reply = None if command is None else as_line(command)
            else:
                await self._listening()
                return await super().read_response(
                    disable_decoding, timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
                )
        except Failure as error:
            raise translated(error, self._host_error()) from error
        except asyncio.TimeoutError:
            return None
        except asyncio.CancelledError:
            self._forget()  # a user that goes on after it reads no reply of before
            raise
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, list) and reply and isinstance(reply[0], ConnectionError):
            raise reply[0]  # as redis-py's parser does
        return reply if disable_decoding else self.decoded(reply)

    async def _carry_out(self, sent: tuple[Any, ...] | Batch) -> Any:
        """Return the reply to a command, or the first one to a batch."""
        if isinstance(sent, Batch):
            self._replies.extend(with_errors(await self._send_batch(sent.commands)))
            return self._replies.popleft()
        if self._lease is None and sent[0] in PLAIN:
            return await self._perform(self.raw, sent)
        return await self._send(sent)

    async def _send(self, words: tuple[Any, ...]) -> Any:
        """Send one command where it belongs, and return its reply."""
        if self._lease is None:
            facts = traits(words)
            if facts.name == "MONITOR":
                self._monitor = monitor = self.raw.monitor(overflow="wait")
                await monitor.__aenter__()
                return b"OK"
            if facts.refusal is None or facts.forbidden:
                return await self._perform(self.raw, words)
            lease = await self._leased(facts.name)
            if facts.name in ("WAIT", "WAITAOF"):
                # They count the writes before the last command of their own connection: a PING is after all of them.
                await lease.ping()
        try:
            return await self._perform(self._lease, words)
        finally:
            self._settle()

    async def _perform(self, where: Any, words: tuple[Any, ...]) -> Any:
        try:
            return await where.execute(words, as_is)
        except ArgumentError:
            words = (words[0], *map(self.encoder.encode, words[1:]))  # raises redis-py's own error, or gives bytes
        except Failure as error:
            raise translated(error, self._host_error()) from error
        return await where.execute(words, as_is)

    async def _send_batch(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send the commands of a pipeline, and return their raw replies."""
        whole = len(commands) > 1 and commands[0] == ("MULTI",)
        inner = commands[1:-1] if whole else commands
        facts = [traits(words) for words in inner if words[0] not in PLAIN]
        if not whole and any(each.timeout is not None for each in facts):
            return [await self._alone(words) for words in commands]
        if self._lease is None and any(each.refusal is not None and not each.forbidden for each in facts):
            await self._leased("a pipeline")
        where = self.raw if self._lease is None else self._lease
        try:
            try:
                return await where.send_raw(commands)
            except ArgumentError:
                commands = [(words[0], *map(self.encoder.encode, words[1:])) for words in commands]
            return await where.send_raw(commands)
        finally:
            self._settle()

    async def _alone(self, words: tuple[Any, ...]) -> Any:
        """Return the reply to one command of a pipeline that goes one by one, as others of it block; or its error."""
        try:
            return await self._send(words)
        except RedisError as error:
            if isinstance(error, (ConnectionError, TimeoutError)):
                raise
            return error

    def decoded(self, reply: Any) -> Any:
        if not self.encoder.decode_responses:
            return reply
        kind = type(reply)
        if kind is bytes:
            return self.encoder.decode(reply)
        if kind is list:
            return [self.decoded(each) for each in reply]
        if kind is dict:
            return {self.decoded(key): self.decoded(value) for key, value in reply.items()}
        return reply

    # --- State -------------------------------------------------------------------------------------------------------

    async def _leased(self, why: str) -> Lease[bytes]:
        """Take a connection for this one alone."""
        lease: Lease[bytes] = self.raw.node.lease(self.raw.terms, f"{why} of redis-py")
        await lease.__aenter__()
        self._lease = lease
        return lease

    def _settle(self) -> None:
        """Give the lease back unless a command has changed its connection."""
        if self._lease is not None and not self._lease.changed:
            self._give_back()

    def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        loop = lease.loop
        if loop is asyncio._get_running_loop():
            lease.give_back()
        elif loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(lease.give_back)

    async def _listening(self) -> Listener:
        if self._shared is None:
            await self.connect()
        listener = self._listener
        if listener is None or not listener.here:
            listener = Listener(self.raw, pushes=self.protocol == 3)
            await listener.enter()
            self._listener = self._reader = listener  # type: ignore[assignment]
            self._parser.on_connect(self)
        return listener

    async def _tell(self, words: Sequence[Any]) -> None:
        """Carry out a command of a subscriber."""
        encoded = [bytes(self.encoder.encode(word)) for word in words]
        try:
            await (await self._listening()).send(encoded)
        except Failure as error:
            raise translated(error, self._host_error()) from error


def unpacked(data: bytes) -> list[list[bytes]]:
    """Return the commands that a caller has packed itself."""
    commands, position = [], 0
    while position < len(data):
        end = data.index(b"\r\n", position)
        words = []
        for _ in range(int(data[position + 1 : end])):
            start = data.index(b"\r\n", end + 2) + 2
            size = int(data[end + 3 : start - 2])
            words.append(data[start : start + size])
            end = start + size
        commands.append(words)
        position = end + 2
    return commands


class Connection(Engine, theirs.Connection):
    """Connection of redis-py to a host and a port, without a socket."""


class SSLConnection(Engine, theirs.SSLConnection):
    """Connection of redis-py by TLS, without a socket."""


class UnixDomainSocketConnection(Engine, theirs.UnixDomainSocketConnection):
    """Connection of redis-py to a path, without a socket."""


#: Classes of redis-py, each with the one that takes its place. A subclass of a user's own is left alone.
KINDS: Final[dict[type, type[Any]]] = {
    theirs.Connection: Connection,
    theirs.SSLConnection: SSLConnection,
    theirs.UnixDomainSocketConnection: UnixDomainSocketConnection,
}
