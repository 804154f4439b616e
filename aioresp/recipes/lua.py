"""Lua scripts of the recipes, each in a file of its own.

Owns how a file becomes a script of a client. Never runs one.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from aioresp.client import Client
from aioresp.contexts.scripts import Script


@cache
def text(name: str) -> str:
    """Return the text of a script: `text("queue/scripts/take")` reads `aioresp/recipes/queue/scripts/take.lua`."""
    return files("aioresp.recipes").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def script(redis: Client[bytes], name: str) -> Script:
    """Return the script of that name on a client, usually a view that may send it twice."""
    return redis.register_script(text(name))
