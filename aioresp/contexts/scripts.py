"""Lua scripts and functions as callables: sent by their short names, and loaded where the server does not know them.

Owns the text of one script or library, and what is sent for a call of it. Keeps nothing about servers: they forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from aioresp.command import AnyStr, Arguments, Key, Result, Value
from aioresp.commands.base import Executor
from aioresp.errors import NoScriptError, ResponseError
from aioresp.replies import as_is
from aioresp.replies.scripting import libraries

if TYPE_CHECKING:
    from aioresp.contexts.pipeline import Pipeline

_UNKNOWN: Final = "Function not found"


class Script:
    """A Lua script: call it with `keys` and `args`. `sha` is its SHA1, as `evalsha` takes it."""

    def __init__(self, client: Executor[Any], script: str | bytes, readonly: bool) -> None:
        from hashlib import sha1  # noqa: PLC0415 (slow to import, and many programs have no scripts)

        self.script = script
        self.sha = sha1(script.encode() if isinstance(script, str) else script, usedforsecurity=False).hexdigest()
        self._client = client
        self._ending = "_RO" if readonly else ""

    def __repr__(self) -> str:
        if not hasattr(self, "_ending"):  # its constructor failed
            return "Script(not made)"
        return f"Script({self.sha}{', readonly' if self._ending else ''})"

    def __call__(
        self, keys: Iterable[Key] = (), args: Iterable[Value] = (), client: Executor[Any] | None = None
    ) -> Result[Any]:
        """Run the script and return what it returns, on another `client` if given: a lease or a pipeline, too.

        It is sent by its SHA1, and once more as a whole if the server does not know that. In a pipeline the first call
        sends it as a whole, so that it is there in any case.
        """
        names = tuple(keys)
        rest = (len(names), *names, *args)
        client = self._client if client is None else client
        pipeline = _queueing(client)
        if pipeline is not None:
            if pipeline.first_use(self):
                return pipeline.execute((f"EVAL{self._ending}", self.script, *rest), as_is)
            return pipeline.execute((f"EVALSHA{self._ending}", self.sha, *rest), as_is)
        return cast("Result[Any]", self._run(client, rest))

    async def _run(self, client: Executor[Any], rest: Arguments) -> Any:
        try:
            return await client.execute((f"EVALSHA{self._ending}", self.sha, *rest), as_is)
        except NoScriptError:
            return await client.execute((f"EVAL{self._ending}", self.script, *rest), as_is)


class Function:
    """A function of a library: call it with `keys` and `args`."""

    def __init__(self, client: Executor[Any], name: str, library: str | bytes, readonly: bool) -> None:
        self.name = name
        self.library = library
        self._library_name = _name_of(library)
        self._client = client
        self._command = "FCALL_RO" if readonly else "FCALL"

    def __repr__(self) -> str:
        if not hasattr(self, "_library_name"):  # its constructor failed
            return "Function(not made)"
        return f"Function({self.name!r} of {self._library_name!r})"

    def __call__(
        self, keys: Iterable[Key] = (), args: Iterable[Value] = (), client: Executor[Any] | None = None
    ) -> Result[Any]:
        """Call the function and return what it returns, on another `client` if given: a lease or a pipeline, too.

        If the server does not know it, its library is loaded, in place of an older one of that name. A pipeline asks
        for it before it sends its commands. Since 7.0.
        """
        names = tuple(keys)
        arguments = (self._command, self.name, len(names), *names, *args)
        client = self._client if client is None else client
        pipeline = _queueing(client)
        if pipeline is not None:
            if pipeline.first_use(self):
                pipeline.prepare(self._prepare)
            return pipeline.execute(arguments, as_is)
        return cast("Result[Any]", self._run(client, arguments))

    async def _run(self, client: Executor[Any], arguments: Arguments) -> Any:
        try:
            return await client.execute(arguments, as_is)
        except ResponseError as error:
            if _UNKNOWN not in str(error):
                raise
        await self._load(client)
        return await client.execute(arguments, as_is)

    async def _prepare(self) -> None:
        found = await self._client.execute(("FUNCTION", "LIST", "LIBRARYNAME", self._library_name), libraries)
        names = (function.name for library in found for function in library.functions)
        if not any(name in (self.name, self.name.encode()) for name in names):
            await self._load(self._client)

    async def _load(self, client: Executor[Any]) -> None:
        await client.execute(("FUNCTION", "LOAD", "REPLACE", self.library), as_is)


def _queueing(client: Executor[Any]) -> Pipeline[Any] | None:
    """Return the client if it is a pipeline that queues what it is given."""
    from aioresp.contexts.pipeline import Pipeline  # noqa: PLC0415 (many programs have no pipelines)

    return client if isinstance(client, Pipeline) and client.queueing else None


def _name_of(library: str | bytes) -> str:
    """Return the name that the first line of a library gives it: `#!lua name=mylib`."""
    text = library.decode("utf-8", "replace") if isinstance(library, bytes) else library
    words = text.partition("\n")[0].split()
    names = [word.removeprefix("name=") for word in words[1:] if word.startswith("name=")]
    if not words or not words[0].startswith("#!") or not names:
        raise ValueError("the library does not begin with a line like `#!lua name=mylib`")
    return names[0]


class Scripts(Executor[AnyStr]):
    """Scripts and functions for whoever awaits its commands."""

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
