"""Pipeline: commands are queued and sent in one write, and each has its own value afterwards.

Owns the queue and the handles of its commands. Packs each command when it is called, so that bad arguments fail there.
Never touches a connection: the route of a batch decides how it travels.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar, cast, overload

from aioresp.advice import PIPELINE
from aioresp.arguments import exact
from aioresp.command import (
    PLAIN,
    AnyStr,
    Arguments,
    Handle,
    Key,
    Result,
    Value,
    locate,
    words,
)
from aioresp.commands import Commands
from aioresp.commands.marks import awaited, unmark_methods
from aioresp.contexts.large import Replies
from aioresp.contexts.transaction import EXEC, MULTI, executed
from aioresp.contexts.transaction_pops import TransactionPops
from aioresp.elsewhere import advising, chained
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    CommandRefused,
    ConnectionLost,
    DecodeError,
    RedisError,
    UnexpectedReply,
    about,
    copy_error,
)
from aioresp.facts.putback import Lost
from aioresp.facts.traits import Traits, traits
from aioresp.misuse import Bound
from aioresp.replies import as_is, decoded, escaping, integer, ok, text
from aioresp.replies.shapes import failure
from aioresp.typed import Generic
from aioresp.wire.packing import Packed, pack, unpack

T = TypeVar("T")

#: Number of replies that are converted in one turn of the loop.
SLICE: Final = 10_000

_HERE: Final = "use `pipeline(transaction=True)`, and `watch()`, `multi()`, `unwatch()` of the pipeline"


if TYPE_CHECKING:  # protocols take time to import
    from aioresp.contexts.queued import QueuedCommands
    from aioresp.pool.pool import Pool

    class Private(Protocol):
        """A route over a connection that only this pipeline uses."""

        shared: bool
        find_pool: Callable[[], Pool[Any]]
        on_lost: Callable[[Lost], object] | None

        async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
            """Send the commands and return the replies; if `whole`, as a transaction that nothing may interrupt."""
            ...

        async def private(self) -> Private:
            """Return a route over a connection that only this pipeline uses."""
            ...

        def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Result[T]:
            """Send one command now."""
            ...

        def note(self, changes: set[str]) -> None:
            """Note the names of commands of a batch that change the connection."""
            ...

        def release(self) -> None:
            """Stop watching, and give the connection back."""
            ...

    class Route(Protocol):
        """Route of a batch. `shared`: others use its connection, so commands that change a connection are refused."""

        shared: bool
        on_lost: Callable[[Lost], object] | None

        def find_pool(self) -> Pool[Any]:
            """Return the pool of the server that the next batch goes to."""
            ...

        @property
        def watching(self) -> bool:
            """Whether keys are watched on the connection, and no transaction has begun."""
            ...

        async def carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
            """Send the commands and return the replies; if `whole`, as a transaction that nothing may interrupt."""
            ...

        async def private(self) -> Private:
            """Return a route over a connection that only this pipeline uses."""
            ...


else:
    # The stub declares handles for the methods of `Commands`. Types cannot tell of one method that it returns a
    # coroutine on a client, which type checkers report if it is not awaited, and a handle here, which they must not.
    QueuedCommands = Commands


@chained([name for name in dir(Commands) if name[0] != "_"])
class Queued(Bound, Handle[T]):
    """A command in a pipeline: await it after the block, or after `execute()`, for its value or its error."""

    _instead = "await it, and pass its value on"

    __slots__ = ("_reply", "_state")

    _reply: Callable[[Any], T] | None
    """The converter; None once the handle has its value or its error."""
    _state: Any
    """The packed command; then its value, or the error to raise."""

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):  # its constructor failed
            return "Queued(not made)"
        if self._reply is None:
            state = self._state  # values are not shown
            return f"Queued({state!r})" if isinstance(state, Exception) else f"Queued(done: {type(state).__name__})"
        name, key = locate(self.traits)
        return f"Queued({name} {key}, not executed)"

    @property
    def traits(self) -> Traits:
        """The traits of the command until it is executed: its name, all its keys, whether it only reads.

        They are read from the packed bytes. So they cost no memory, and match the bytes on the wire even if the caller
        changes a buffer.
        """
        return traits(unpack(self._state))

    def result(self) -> T:
        """Return the value, or raise the error of this command."""
        state: Any = self._state
        if self._reply is not None:
            name, key = locate(self.traits)
            where = name if key is None else f"{name} {key}"
            raise RuntimeError(f"{where} is not executed yet: await it after the block, or after `await p.execute()`")
        if isinstance(state, BaseException):
            raise copy_error(state)
        value: T = state
        return value

    def __await__(self) -> Generator[Any, None, T]:
        yield from ()  # a generator that ends at once
        return self.result()

    # `create_task` takes it for a coroutine, by these methods.

    def send(self, value: Any) -> NoReturn:
        """End at once, with the value."""
        raise StopIteration(self.result())

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> NoReturn:
        """Raise what was thrown."""
        error = typ if val is None else val
        raise error() if isinstance(error, type) else error

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


@advising(PIPELINE)
class Pipeline(QueuedCommands[AnyStr], Generic[AnyStr]):
    """Queue of commands that are sent in one write; with `transaction`, between MULTI and EXEC.

    Each method returns a handle, which awaits to its own typed value after the block, or after `await p.execute()`. The
    end of the block executes what is queued; if it is left by an exception, nothing is sent.
    """

    _instead = "queue the commands where they are executed, in a pipeline of that process's client"

    def __init__(self, route: Route, decode: bool, transaction: bool = False) -> None:
        self._route = route
        self._decode = decode
        self._transaction = transaction
        self._explicit = False  # set by multi(), cleared by the end of the batch
        self._watching: Private | None = None
        self._immediate = False  # set by watch(): commands are sent at once; multi(), unwatch() or the end clears it
        self._queue: list[Queued[Any]] = []
        self._binary: set[int] = set()  # positions of commands whose replies are not decoded, or escaped later
        self._changes: set[str] = set()  # names of queued commands that change the connection
        self._pops: list[tuple[int, Traits]] = []  # blocking pops in the queue, and their positions
        self._used: set[object] = set()  # scripts and functions of this batch
        self._before: list[Callable[[], Awaitable[None]]] = []  # steps to take before the batch is sent

    def __repr__(self) -> str:
        if not hasattr(self, "_queue"):  # its constructor failed
            return "Pipeline(not made)"
        said = [f"{len(self._queue)} queued"]
        if self._transaction or self._explicit:
            said.append("transaction")
        if self._watching is not None:
            said.append("watching")
        if not self._decode:
            said.append("bytes")
        return f"Pipeline({', '.join(said)})"

    def __del__(self) -> None:
        if getattr(self, "_watching", None) is not None:  # there is none if its constructor failed
            warnings.warn(
                "a pipeline watched keys and was neither executed nor reset: use `async with`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __len__(self) -> int:
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Pipeline[AnyStr]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # A caller that watched keys and did not call multi() has asked for nothing yet: it may leave.
            begun = self._explicit or (self._transaction and self._watching is None)
            if error is None and (self._queue or (begun and self._watches)):
                await self._run(True)
        finally:
            await self.reset()

    # --- Queueing ----------------------------------------------------------------------------------------------------

    @overload
    def execute(self, arguments: Arguments, reply: Callable[[Any], T]) -> Handle[T]: ...
    @overload
    def execute(self, *, raise_on_error: bool = True) -> Coroutine[Any, Any, list[Any]]: ...
    @awaited
    def execute(
        self, arguments: Any = None, reply: Callable[[Any], Any] | None = None, raise_on_error: bool = True
    ) -> Any:
        """Send the queued commands and return their values in order; the pipeline can then be filled again.

        When all replies have been read, the first error is raised. Its message has the command and its number, and its
        `index` counts from 0. With `raise_on_error=False` errors are values. An error of the whole batch is always
        raised: ConnectionLost, CommandTimeout, WatchError, ExecAbortError.

        After `watch()` it sends MULTI and EXEC, even without `multi()` and if nothing is queued. It raises WatchError
        if a watched key was changed.

        Command methods call it with two arguments, to queue a command.
        """
        if reply is None:
            if arguments is not None and not isinstance(arguments, bool):
                raise ArgumentTypeError("execute() sends what is queued; `call(...)` queues any command")
            return self._run(raise_on_error if arguments is None else arguments)
        name = arguments[0]
        if self._immediate or type(name) is not str or name not in PLAIN:  # other classes may have any hash
            return self._execute_special(arguments, reply)
        handle: Queued[Any] = Queued()
        handle._reply = reply
        handle._state = pack(arguments)
        self._queue.append(handle)
        return handle

    def _execute_special(self, arguments: Arguments, reply: Callable[[Any], T]) -> Handle[T]:
        if self._watching is not None and self._immediate:
            return cast(Handle[T], self._watching.execute(arguments, reply))  # it is awaited at once
        arguments = exact(arguments)
        facts = traits(arguments)
        name = facts.name
        if name in ("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"):
            raise _refused(name, _HERE)
        if facts.refusal is not None and (self._route.shared or facts.forbidden):
            raise _refused(name, facts.refusal)
        if facts.timeout is not None and not self._transaction and not self._explicit:
            raise _refused(name, "it would hold up all behind it; it belongs outside, or in a transaction")
        handle: Queued[T] = Queued()
        handle._reply = escaping(reply) if facts.escaped and self._decode else reply
        handle._state = pack(arguments)
        if facts.binary or facts.escaped:
            self._binary.add(len(self._queue))
        if facts.changes:
            self._changes.add(name)
        if facts.undoing is not None:
            self._pops.append((len(self._queue), facts))
        self._queue.append(handle)
        return handle

    def _answer(self, value: T) -> Handle[T]:
        """Send a PING for a result that needs no server: it keeps the place among the values."""
        return self.execute(("PING",), lambda _: value)

    def call(self, *arguments: Value) -> Handle[Any]:
        """Queue any command; its value is the reply as the server gave it."""
        return self.execute(words(arguments), as_is)

    @property
    def queueing(self) -> bool:
        """Whether commands are queued: not between `watch()` and `multi()`, when they are sent at once."""
        return not self._immediate

    def has_used(self, what: object) -> bool:
        """Return whether a script or function is used in this batch already."""
        return what in self._used

    def use(self, what: object) -> None:
        """Note that a script or function is used in this batch."""
        self._used.add(what)

    def prepare(self, step: Callable[[], Awaitable[None]]) -> None:
        """Await `step()` before the batch is sent."""
        self._before.append(step)

    # --- Executing ---------------------------------------------------------------------------------------------------

    async def _run(self, raise_on_error: bool) -> list[Any]:
        handles, self._queue = self._queue, []
        binary, self._binary = self._binary, set()
        changes, self._changes = self._changes, set()
        pops, self._pops = self._pops, []
        before, self._before = self._before, []
        self._used.clear()
        try:
            if not handles and not self._watches:
                return []
            if changes:
                (await self._route.private()).note(changes)
            try:
                for step in before:
                    await step()
                replies = await self._carry(handles, pops, decode=not binary)
                if self._decode and (binary or self._whole):
                    replies = _decoded(replies, binary)
                clean = await _deliver(handles, replies)
            except BaseException as error:
                if isinstance(error, ConnectionLost):
                    error.method = "pipeline"
                _fail(handles, error)
                raise
        finally:
            self._release()
        values = [handle._state for handle in handles]
        if raise_on_error and not clean:
            _raise_first(values)
        return values

    async def _carry(self, handles: list[Queued[Any]], pops: list[tuple[int, Traits]], decode: bool) -> Replies:
        commands: list[Packed] = [handle._state for handle in handles]
        route = self._watching or self._route
        if not self._whole:
            return await route.carry(commands, decode and self._decode, False)
        # The replies are read as bytes: otherwise one value that is not UTF-8 would fail the whole reply of EXEC.
        send = partial(route.carry, [MULTI, *commands, EXEC], False, True)
        replies = await (TransactionPops(pops, route.on_lost, route.find_pool()).carry(send) if pops else send())
        return executed(replies, lambda number, error: _set_error(handles[number], error))

    @property
    def _whole(self) -> bool:
        """Whether the batch goes between MULTI and EXEC."""
        return self._transaction or self._explicit or self._watching is not None

    @property
    def _watches(self) -> bool:
        """Whether EXEC would tell of watched keys, of this pipeline or of its lease."""
        return self._watching is not None or (self._whole and self._route.watching)

    # --- Watching ----------------------------------------------------------------------------------------------------

    async def watch(self, *names: Key) -> bool:
        """Watch keys, on a connection that is this pipeline's until it is executed.

        From now on commands are sent at once, and return their values; from `multi()` on they are queued. If a key is
        changed before EXEC, `execute()` raises WatchError and the transaction does not run.
        """
        if not names:
            raise ArgumentError("WATCH: names is empty")
        if self._explicit:
            raise _refused("WATCH", "it must come before multi()")
        if self._watching is None:
            self._watching = await self._route.private()
        try:
            await self._watching.execute(("WATCH", *names), ok)
        except BaseException:
            self._release()
            raise
        self._immediate = True
        return True

    def multi(self) -> None:
        """Begin to queue commands, for a transaction that `execute()` sends."""
        if self._explicit:
            raise _refused("MULTI", "multi() was called already")
        if self._queue:
            raise _refused("MULTI", "commands were queued before multi()")
        self._explicit = True
        self._immediate = False

    async def unwatch(self) -> bool:
        """Stop watching; commands are queued again."""
        if self._watching is not None and self._immediate:
            await self._watching.execute(("UNWATCH",), ok)
            self._release()
        return True

    # The name is redis-py's. The command RESET has no meaning in a pipeline.
    async def reset(self) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Forget the queued commands, and stop watching."""
        handles, self._queue = self._queue, []
        self._binary, self._changes, self._pops, self._before = set(), set(), [], []
        self._used.clear()
        _fail(handles, RedisError("the command was not sent: its pipeline was left, or reset"))
        self._release()

    def _release(self) -> None:
        watching, self._watching = self._watching, None
        self._immediate = self._explicit = False
        if watching is not None:
            watching.release()


unmark_methods(Pipeline)
Pipeline._run.__qualname__ = "Pipeline.execute"  # the name in Python's warning of a call that is never awaited


# --- Replies are delivered --------------------------------------------------------------------------------------------


async def _deliver(handles: list[Queued[Any]], replies: Replies) -> bool:
    """Give each command its value or its error, and return whether there are no errors."""
    raw, clean = replies.raw, replies.clean
    if len(handles) <= SLICE:
        return _settle(handles, raw, clean)
    settled = 0
    try:
        while settled < len(handles):
            end = settled + SLICE
            clean = _settle(handles[settled:end], raw[settled:end], clean)
            settled = end
            await asyncio.sleep(0)  # so that other tasks get their turns
    except BaseException:  # cancelled, or closed by hand
        _settle(handles[settled:], raw[settled:], clean)
        raise
    return clean


def _settle(handles: list[Queued[Any]], raw: list[Any], clean: bool) -> bool:
    if clean:
        try:
            for handle, reply in zip(handles, raw, strict=True):
                convert = handle._reply
                kind = type(reply)
                if convert is as_is or (kind is str and convert is text) or (kind is int and convert is integer):
                    handle._state = reply
                else:
                    handle._state = convert(reply)  # type: ignore[misc]  # None means done
                handle._reply = None
            return True
        except Exception:
            pass  # of a converter: the rest is converted one by one
    for handle, reply in zip(handles, raw, strict=True):
        if handle._reply is None:
            continue
        if isinstance(reply, RedisError):
            _set_error(handle, reply)
        else:
            try:
                handle._state = handle._reply(reply)
                handle._reply = None
            except Exception as error:
                _set_error(handle, failure(error, reply, ()))
    return False


def _set_error(handle: Queued[Any], error: Exception) -> None:
    if isinstance(error, RedisError):
        about(error, *locate(handle.traits))
    handle._state = error
    handle._reply = None


def _fail(handles: list[Queued[Any]], error: BaseException) -> None:
    """Give the error that failed the batch to each command without a value."""
    if not isinstance(error, Exception):
        error = RedisError("the pipeline was cancelled: whether this command has run is not known")
    elif isinstance(error, RedisError):
        error = copy_error(error)  # the caller's own one holds the handles, by its traceback
    for handle in handles:
        if handle._reply is not None:
            handle._state = error
            handle._reply = None


def _raise_first(values: list[Any]) -> None:
    for number, value in enumerate(values):
        if isinstance(value, Exception):
            error = copy_error(value)
            message = f"command #{number + 1} of {len(values)} in the pipeline: {value.args[0] if value.args else ''}"
            error.args = (message, *value.args[1:])
            if isinstance(error, RedisError):
                error.index = number
            try:
                raise error
            finally:
                del error  # it holds this frame by its traceback


_UNDECODED: Final = (DecodeError, UnexpectedReply)


def _decoded(replies: Replies, binary: set[int]) -> Replies:
    """Decode replies that were read as bytes, except those that are not text."""
    raw = [reply if number in binary else decoded(reply) for number, reply in enumerate(replies.raw)]
    return Replies(raw, replies.clean and not any(reply.__class__ in _UNDECODED for reply in raw))


def _refused(name: str, why: str) -> CommandRefused:
    return about(CommandRefused(f"a pipeline does not send this command: {why}"), name)
