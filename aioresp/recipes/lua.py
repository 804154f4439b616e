"""Lua scripts of the recipes, each in a file of its own.

Owns how a file becomes a script of a client, and the shortest way to run one. Never knows what a script does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from aioresp.client import Client
from aioresp.command import Key, Value
from aioresp.errors import NoScriptError, ResponseError, about, response_error
from aioresp.replies import as_is

#: Error of a command within a script, as servers before 7.0 report it.
_INNER: Final = re.compile(r"ERR Error running script .*?: @user_script: ?\d+: -?([A-Z]+ .*)", re.DOTALL)


@cache
def text(name: str) -> str:
    """Return the text of a script: `text("queue/scripts/take")` reads `aioresp/recipes/queue/scripts/take.lua`."""
    return files("aioresp.recipes").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def within(error: Exception, command: str = "EVALSHA") -> Exception:
    """Return the error of a command within a script, of its own type, where the server has hidden it in another."""
    if not isinstance(error, ResponseError):
        return error
    found = _INNER.match(str(error.args[0]))
    return error if found is None else about(response_error(found[1]), command, error.key)


class Call:
    """Call of a script by its SHA1. The whole text is sent only to a server that says it does not know the script.

    No script here returns NOSCRIPT, so that error means it has not run. `Script` cannot know that, and asks before.
    """

    def __init__(self, redis: Client[bytes], name: str, whole: str | None = None) -> None:
        self._redis = redis
        self._whole = text(name) if whole is None else whole
        self._sha = redis.register_script(self._whole).sha

    async def __call__(self, key: Key, *args: Value) -> Any:
        """Run the script on one key and return its result."""
        try:
            return await self._redis.execute(("EVALSHA", self._sha, 1, key, *args), as_is)
        except ResponseError as error:
            if not isinstance(error, NoScriptError):
                raise within(error, "EVALSHA") from None
        return await self._send_whole((1, key, *args))

    async def on(self, keys: Sequence[Key], args: Iterable[Value] = ()) -> Any:
        """Run the script on several keys and return its result. What is iterated over may not change meanwhile."""
        try:
            return await self._redis.execute(("EVALSHA", self._sha, str(len(keys)), *keys, *args), as_is)
        except ResponseError as error:
            if not isinstance(error, NoScriptError):
                raise within(error, "EVALSHA") from None
        return await self._send_whole((len(keys), *keys, *args))

    async def _send_whole(self, rest: tuple[Value, ...]) -> Any:
        try:
            return await self._redis.execute(("EVAL", self._whole, *rest), as_is)
        except ResponseError as error:
            raise within(error, "EVAL") from None
