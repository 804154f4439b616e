"""Lua scripts and functions as callables: sent by name, and loaded if the server does not know them.

Owns the text of one script or library, and the commands that call it. Never takes an error for proof that a script has
not run, because a script can return any error. It asks the server which scripts are loaded.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast, overload

from aioresp.arguments import encoded, exact
from aioresp.command import AnyStr, Arguments, Handle, Key, Result, Value
from aioresp.commands.base import Executor, several
from aioresp.commands.marks import awaited
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    ConnectionLost,
    NoScriptError,
    ResponseError,
    UnknownCommandError,
)
from aioresp.misuse import Bound
from aioresp.replies import Late, as_is, booleans
from aioresp.retry import NOT_NOW

if TYPE_CHECKING:
    from aioresp.replies import scripting as replies
else:
    replies = Late("scripting")

if TYPE_CHECKING:
    from aioresp.contexts.pipeline import Pipeline

    Place: TypeAlias = tuple[object, int] | None

T = TypeVar("T")

#: Beginnings of the errors for an unknown script, or an unknown function; a script can return the same.
_NO_SCRIPT: Final = "NOSCRIPT No matching script"
_NO_FUNCTION: Final = "ERR Function not found"


#: Number of whole scripts that a client has begun to send, and of those that were answered, by client and SHA1.
_SENT: Final[weakref.WeakKeyDictionary[object, tuple[Counter[str], Counter[str]]]] = weakref.WeakKeyDictionary()


class _Known:
    """Pools whose server has loaded a script or library, each with the number of connections made by then.

    After a new connection, which may lead to a restarted server, the server is asked again. A mistake costs one round
    trip.
    """

    def __init__(self) -> None:
        self._made: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()

    def at(self, place: tuple[object, int]) -> bool:
        """Return whether the server of that pool is known to have the script or library."""
        return self._made.get(place[0]) == place[1]

    def note(self, place: Place, known: bool) -> None:
        """Note that the server has the script or library, or that it may not."""
        if place is None:
            return
        if known:
            self._made[place[0]] = place[1]
        else:
            self._made.pop(place[0], None)


class Script(Bound):
    """A Lua script: call it with `keys` and `args`. `sha` is its SHA1, as `evalsha` takes it."""

    _instead = "pass its text `script`, and register that with the client there"

    def __init__(self, client: Executor[Any], script: str | bytes, readonly: bool) -> None:
        from hashlib import sha1  # noqa: PLC0415 (slow to import, and many programs have no scripts)

        if not isinstance(script, (str, bytes)):
            raise ArgumentTypeError(f"register_script(): script is {type(script).__name__}, not str or bytes")
        code = encoded(("EVAL", script))[1]
        self.script: str | bytes = code.decode() if isinstance(script, str) else code
        self.sha = sha1(code, usedforsecurity=False).hexdigest()
        self._client = client
        self._ending = "_RO" if readonly else ""
        self._known = _Known()

    def __repr__(self) -> str:
        if not hasattr(self, "_ending"):  # its constructor failed
            return "Script(not made)"
        return f"Script({self.sha}{', readonly' if self._ending else ''})"

    @overload
    def __call__(self, keys: Iterable[Key], args: Iterable[Value], client: Pipeline[Any]) -> Handle[Any]: ...
    @overload
    def __call__(
        self, keys: Iterable[Key] = ..., args: Iterable[Value] = ..., *, client: Pipeline[Any]
    ) -> Handle[Any]: ...
    @overload
    def __call__(
        self, keys: Iterable[Key] = ..., args: Iterable[Value] = ..., client: Executor[Any] | None = None
    ) -> Result[Any]: ...
    @awaited
    def __call__(
        self, keys: Iterable[Key] = (), args: Iterable[Value] = (), client: Executor[Any] | None = None
    ) -> Result[Any]:
        """Run the script and return its result, on another `client` if given: a lease or a pipeline, too.

        The call sends its SHA1, or the whole script if the server does not have it. In a pipeline the first call sends
        the whole script, so that later ones find it.
        """
        names = several("EVALSHA", "keys", keys, '["key"]')
        rest = (len(names), *names, *several("EVALSHA", "args", args, '["value"]'))
        client = self._client if client is None else client
        pipeline = _queueing(client)
        if pipeline is not None:
            if pipeline.has_used(self):
                return pipeline.execute((f"EVALSHA{self._ending}", self.sha, *rest), as_is)
            handle = pipeline.execute((f"EVAL{self._ending}", self.script, *rest), as_is)
            pipeline.use(self)  # not before: an argument that cannot be sent keeps the script out of the queue
            return handle
        return self._run(client, rest)

    async def _run(self, client: Executor[Any], rest: Arguments) -> Any:
        # Copied now, because a caller may change a buffer before it is sent.
        rest = exact((f"EVALSHA{self._ending}", self.sha, *rest))[2:]
        place = _place(client, self._client)
        begun, answered = _sent_by(client)
        before = answered[self.sha]
        if not self._ending and place is not None and not self._known.at(place):
            with _not_sent("script"):
                loaded = await self._is_loaded(client)
            if not loaded:
                return await self._run_whole(client, rest, place if loaded is False else None)
            self._known.note(place, True)
        if place is None and rest[0] and isinstance(client, Scripts):
            place = client._place_of(cast("Key", rest[1]))
            if place is not None and not self._known.at(place):
                return await self._run_whole(client, rest, place)
        try:
            return await client.execute((f"EVALSHA{self._ending}", self.sha, *rest), as_is)
        except ConnectionLost as error:
            error.method = "script"
            raise
        except NoScriptError as error:
            self._known.note(place, False)
            # The script itself may have returned this error, after it has run. If the server does not have the script,
            # the error is the server's, unless another client removed the script meanwhile. If the server has it, the
            # script has run, or another client loaded it meanwhile: only a script that only reads is then repeated.
            said = str(error.args[0]).startswith(_NO_SCRIPT)
            if not said or (
                not self._ending
                and (
                    _may_say("NOSCRIPT", self.script, rest)
                    # If another call of this client may have loaded it meanwhile, the answer proves nothing. Nor does
                    # it if the client has gone to another server, where others load it at the same time.
                    or (
                        begun[self.sha] == before
                        and not _has_moved(client, self._client, place, rest)
                        and await self._is_loaded(client) is not False
                        and begun[self.sha] == before
                    )
                )
            ):
                raise
        return await self._run_whole(client, rest, place)

    async def _run_whole(self, client: Executor[Any], rest: Arguments, place: Place | None) -> Any:
        begun, answered = _sent_by(client)
        begun[self.sha] += 1
        try:
            value = await client.execute((f"EVAL{self._ending}", self.script, *rest), as_is)
        except ConnectionLost as error:
            error.method = "script"
            raise
        finally:
            answered[self.sha] += 1
        self._known.note(place, True)
        return value

    async def _is_loaded(self, client: Executor[Any]) -> bool | None:
        """Return whether the server has the script, or None if it does not say so."""
        try:
            return await client.execute(("SCRIPT", "EXISTS", self.sha), _only_boolean)
        except ResponseError as error:
            if isinstance(error, NOT_NOW):
                raise
            return None  # it does not know or allow that, in whichever words


class Function(Bound):
    """A function of a library: call it with `keys` and `args`."""

    _instead = "pass its `name` and `library`, and register these with the client there"

    def __init__(self, client: Executor[Any], name: str, library: str | bytes, readonly: bool) -> None:
        self.name = name
        self.library = library
        self._library_name = _name_of(library)
        self._client = client
        self._command = "FCALL_RO" if readonly else "FCALL"
        self._known = _Known()

    def __repr__(self) -> str:
        if not hasattr(self, "_library_name"):  # its constructor failed
            return "Function(not made)"
        return f"Function({self.name!r} of {self._library_name!r})"

    @overload
    def __call__(self, keys: Iterable[Key], args: Iterable[Value], client: Pipeline[Any]) -> Handle[Any]: ...
    @overload
    def __call__(
        self, keys: Iterable[Key] = ..., args: Iterable[Value] = ..., *, client: Pipeline[Any]
    ) -> Handle[Any]: ...
    @overload
    def __call__(
        self, keys: Iterable[Key] = ..., args: Iterable[Value] = ..., client: Executor[Any] | None = None
    ) -> Result[Any]: ...
    @awaited
    def __call__(
        self, keys: Iterable[Key] = (), args: Iterable[Value] = (), client: Executor[Any] | None = None
    ) -> Result[Any]:
        """Call the function and return its result, on another `client` if given: a lease or a pipeline, too.

        If the server does not know the function, its library is loaded, in place of an older one of that name. A
        pipeline does so before it sends its commands. Since 7.0.
        """
        names = several(self._command, "keys", keys, '["key"]')
        rest = several(self._command, "args", args, '["value"]')
        arguments = (self._command, self.name, len(names), *names, *rest)
        client = self._client if client is None else client
        pipeline = _queueing(client)
        if pipeline is not None:
            if not pipeline.has_used(self):
                pipeline.use(self)
                pipeline.prepare(self._prepare)
            return pipeline.execute(arguments, as_is)
        return self._run(client, arguments)

    async def _run(self, client: Executor[Any], arguments: Arguments) -> Any:
        arguments = exact(arguments)  # copied now: a caller may change a buffer before it is sent
        place = _place(client, self._client)
        if place is not None and not self._known.at(place):
            with _not_sent("function"):
                await self._see_to_it(client)
            self._known.note(place, True)
        try:
            return await client.execute(arguments, as_is)
        except ConnectionLost as error:
            error.method = "function"
            raise
        except ResponseError as error:
            if error.args[0] != _NO_FUNCTION:
                raise
            self._known.note(place, False)
            # The function itself may have returned this error, after it has run. The error is the server's only if the
            # server did not have the function, unless another client removed it meanwhile.
            if _may_say("Function not found", self.library, arguments[3:]) or not await self._see_to_it(client):
                raise
        return await client.execute(arguments, as_is)

    async def _prepare(self) -> None:
        await self._see_to_it(self._client)

    async def _see_to_it(self, client: Executor[Any]) -> bool:
        """Load the library if the server does not have the function; return whether it was loaded."""
        try:
            lists = await _ask_all(client, ("FUNCTION", "LIST", "LIBRARYNAME", self._library_name), replies.libraries)
        except ResponseError as error:
            if isinstance(error, (*NOT_NOW, UnknownCommandError)):
                raise
            return False  # the server may have it, and does not say so in whichever words: the call will tell
        named = (self.name, self.name.encode())
        if all(any(function.name in named for library in found for function in library.functions) for found in lists):
            return False
        await client.execute(("FUNCTION", "LOAD", "REPLACE", self.library), as_is)
        return True


# The names in Python's warnings of a call that is never awaited.
Script._run.__qualname__ = "Script.__call__"
Function._run.__qualname__ = "Function.__call__"


def _place(client: Executor[Any], registered: Executor[Any]) -> Place:
    """Return the pool that `client` uses, with the number of connections that it has made; None within MULTI.

    A pipeline that watches does not tell its pool; usually it is the pool of the client that registered the script.
    """
    for executor in (client, registered):
        if isinstance(executor, Scripts):
            return executor._place()
    return client, 0


def _has_moved(client: Executor[Any], registered: Executor[Any], place: Place | None, rest: Arguments) -> bool:
    """Return whether `client` has left the pool of `place`, because it uses another server now.

    A cluster does so for the slot of the first key, of the call whose count of keys and keys are `rest`.
    """
    now = _place(client, registered)
    if now is None and rest[0] and isinstance(client, Scripts):
        now = client._place_of(cast("Key", rest[1]))
    return place is not None and now is not None and place[0] is not now[0]


def _sent_by(client: Executor[Any]) -> tuple[Counter[str], Counter[str]]:
    """Return how many whole scripts `client`, with all its views, has begun to send, and has had answered."""
    owner: object = getattr(client, "node", client)
    counts = _SENT.get(owner)
    if counts is None:
        counts = _SENT[owner] = Counter(), Counter()
    return counts


@contextmanager
def _not_sent(method: str) -> Iterator[None]:
    """Tell of a connection that is lost before the call: nothing of the script or function has run."""
    try:
        yield
    except ConnectionLost as error:
        error.method, error.outcome = method, "not sent"
        raise


async def _ask_all(client: Executor[Any], arguments: Arguments, reply: Callable[[Any], T]) -> list[T]:
    """Return the replies of all servers of a client that may run a function; most clients have one server."""
    if isinstance(client, Scripts):
        return await client._ask_all(arguments, reply)
    return [await client.execute(arguments, reply)]


def _queueing(client: Executor[Any]) -> Pipeline[Any] | None:
    """Return the client if it is a pipeline that queues its commands, else None."""
    from aioresp.contexts.pipeline import Pipeline  # noqa: PLC0415 (many programs have no pipelines)

    return client if isinstance(client, Pipeline) and client.queueing else None


def _only_boolean(value: Any) -> bool:
    (found,) = booleans(value)
    return found


def _may_say(word: str, code: str | bytes, arguments: Arguments) -> bool:
    """Return whether the code or an argument contains this word of an error."""
    return any(word.encode() in text for text in encoded((code, *arguments)))


def _name_of(library: str | bytes) -> str:
    """Return the name that the first line of a library gives it: `#!lua name=mylib`."""
    text = library.decode("utf-8", "replace") if isinstance(library, bytes) else library
    words = text.partition("\n")[0].split()
    names = [word.removeprefix("name=") for word in words[1:] if word.startswith("name=")]
    if not words or not words[0].startswith("#!") or not names:
        raise ArgumentError("the library does not begin with a line like `#!lua name=mylib`")
    return names[0]


class Scripts(Executor[AnyStr]):
    """Scripts and functions of clients, leases and pipelines."""

    def _place(self) -> Place:
        """Return an object that stands for the server, and a number that changes when the server may have restarted.

        None means that the server cannot be asked now, because it queues all commands.
        """
        return self, 0

    async def _ask_all(self, arguments: Arguments, reply: Callable[[Any], T]) -> list[T]:
        """Send a command to all servers that may run a function, and return the reply of each."""
        return [await self.execute(arguments, reply)]

    def _place_of(self, key: Value) -> Place:
        """Return what stands for the server of a key; None if there are not several, or it is not known."""
        return None

    def register_script(self, script: str | bytes, *, readonly: bool = False) -> Script:
        """Return a callable that runs a Lua script; nothing is sent before it is called.

        `readonly` uses EVALSHA_RO (since 7.0), for a script that must not write, as a replica can run it.
        """
        return Script(self, script, readonly)

    def register_function(self, name: str, library: str | bytes, *, readonly: bool = False) -> Function:
        """Return a callable that calls the function `name` of a library; nothing is sent before. Since 7.0.

        `readonly` uses FCALL_RO, for a function with the flag `no-writes`, as a replica can run it.
        """
        return Function(self, name, library, readonly)
