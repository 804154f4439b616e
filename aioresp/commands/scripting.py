"""Scripts and functions, which run on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, filled, number
from aioresp.replies import Late, as_is, binary, booleans, ok, some_text, string

if TYPE_CHECKING:
    from aioresp.replies import scripting as replies
    from aioresp.replies.scripting import FunctionStats, Library
else:
    replies = Late("scripting")

Flush = Literal["SYNC", "ASYNC"]


class ScriptingCommands(Executor[AnyStr]):
    """Commands on scripts and functions.

    What a script returns is passed on as the protocol has it: a boolean, a double or a map of RESP3 reaches the caller
    as such only if the script asks for it. While one runs, all that was sent after it on its connection waits.
    """

    def eval(self, script: str | bytes, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Run a Lua script and return what it returns; the first `numkeys` of the arguments are its keys."""
        return self.execute(("EVAL", script, _count("EVAL", numkeys), *keys_and_args), as_is)

    def eval_ro(self, script: str | bytes, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Run a Lua script that must not write, as a replica can. Since 7.0."""
        return self.execute(("EVAL_RO", script, _count("EVAL_RO", numkeys), *keys_and_args), as_is)

    def evalsha(self, sha: Key, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Run a script by what `script_load` returned. Raises ResponseError (NOSCRIPT) if it is not loaded."""
        return self.execute(("EVALSHA", sha, _count("EVALSHA", numkeys), *keys_and_args), as_is)

    def evalsha_ro(self, sha: Key, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Run a loaded script that must not write, as a replica can. Since 7.0."""
        return self.execute(("EVALSHA_RO", sha, _count("EVALSHA_RO", numkeys), *keys_and_args), as_is)

    def fcall(self, function: Key, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Call a function and return what it returns; the first `numkeys` of the arguments are keys. Since 7.0."""
        return self.execute(("FCALL", function, _count("FCALL", numkeys), *keys_and_args), as_is)

    def fcall_ro(self, function: Key, numkeys: int, *keys_and_args: Value) -> Result[Any]:
        """Call a function that has the flag `no-writes`, as a replica can. Since 7.0."""
        return self.execute(("FCALL_RO", function, _count("FCALL_RO", numkeys), *keys_and_args), as_is)

    def function_delete(self, library: Key) -> Result[bool]:
        """Delete a library. Raises ResponseError if there is none. Since 7.0."""
        return self.execute(("FUNCTION", "DELETE", library), ok)

    def function_dump(self) -> Result[bytes]:
        """Return all libraries as bytes for `function_restore`, whatever the client decodes. Since 7.0."""
        return self.execute(("FUNCTION", "DUMP"), binary)

    def function_flush(self, mode: Flush = "SYNC") -> Result[bool]:
        """Delete all libraries, in the background if `ASYNC`. Since 7.0."""
        return self.execute(("FUNCTION", "FLUSH", mode), ok)

    def function_kill(self) -> Result[bool]:
        """Stop the function that runs. Since 7.0. Raises ResponseError if none does, or if it has written.

        Take the lease for it before: a busy server accepts no connections, and this must not queue behind the function.
        """
        return self.execute(("FUNCTION", "KILL"), ok)

    def function_list(self, library: Key | None = None, withcode: bool = False) -> Result[list[Library[AnyStr]]]:
        """Return the libraries, those that match the glob `library` if given. Since 7.0."""
        options: tuple[Value, ...] = () if library is None else ("LIBRARYNAME", library)
        options += ("WITHCODE",) if withcode else ()
        return self.execute(("FUNCTION", "LIST", *options), replies.libraries)

    def function_load(self, code: str | bytes, replace: bool = False) -> Result[AnyStr]:
        """Load a library and return its name. Raises ResponseError if it exists, unless `replace`. Since 7.0."""
        return self.execute(("FUNCTION", "LOAD", *(("REPLACE",) if replace else ()), code), some_text)

    def function_restore(
        self, payload: bytes | bytearray | memoryview, policy: Literal["FLUSH", "APPEND", "REPLACE"] = "APPEND"
    ) -> Result[bool]:
        """Load what `function_dump` returned. Since 7.0.

        `FLUSH` deletes all other libraries; of the same name, `REPLACE` replaces one and `APPEND` raises ResponseError.
        """
        return self.execute(("FUNCTION", "RESTORE", payload, policy), ok)

    def function_stats(self) -> Result[FunctionStats[AnyStr]]:
        """Return which function runs, if one does, and how much is loaded. Since 7.0."""
        return self.execute(("FUNCTION", "STATS"), replies.function_stats)

    def script_exists(self, *args: Key) -> Result[list[bool]]:
        """Return for each SHA1 whether its script is loaded."""
        return self.execute(("SCRIPT", "EXISTS", *filled("SCRIPT EXISTS", "args", args)), booleans)

    def script_flush(self, sync_type: Flush | None = None) -> Result[bool]:
        """Forget all scripts, waiting for that or not (since 6.2; None: as the server is configured)."""
        return self.execute(("SCRIPT", "FLUSH", *(() if sync_type is None else (sync_type,))), ok)

    def script_kill(self) -> Result[bool]:
        """Stop the script that runs. Raises ResponseError if none does, or if it has written.

        Take the lease for it before: a busy server accepts no connections, and this must not queue behind the script.
        """
        return self.execute(("SCRIPT", "KILL"), ok)

    def script_load(self, script: str | bytes) -> Result[str]:
        """Load a script and return its SHA1 for `evalsha`. A restart or `script_flush` forgets it."""
        return self.execute(("SCRIPT", "LOAD", script), string)

    def script_show(self, sha: Key) -> Result[AnyStr]:
        """Return a script by its SHA1. Since Valkey 8.0; not in Redis."""
        return self.execute(("SCRIPT", "SHOW", sha), some_text)


def _count(command: str, numkeys: Any) -> Any:
    return number(command, "numkeys", numkeys, "the script or function, the number of keys, keys, arguments")
