"""Mutations of the recipes: a script, or a method, that is wrong in one place, whose law's check must fail then."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Final

import pytest

from aioresp.recipes import lua

#: Part of a script's name, text, and another text in its place. CLOCK in it stands for the seconds by which the clock
#: of the process is off: with them a script goes by the client's clock.
Mutation = tuple[str, str, str]

#: A script that is told the time by its client, which law C1 forbids.
TIME: Final = ("redis.call('TIME')", "{redis.call('TIME')[1] + (CLOCK), redis.call('TIME')[2]}")


def break_script(monkeypatch: pytest.MonkeyPatch, name: str, *changes: tuple[str, str]) -> None:
    """Replace texts of a script; each must stand there."""
    right: Callable[[str], str] = lua.text

    def text(asked: str) -> str:
        code = right(asked)
        if asked == name:
            for old, new in changes:
                assert old in code, f"{old!r} does not stand in {name}"
                code = code.replace(old, new)
        return code

    monkeypatch.setattr(lua, "text", text)


def break_all(mutations: list[Mutation], clock: float) -> None:
    """Replace texts of scripts for good, in a process of their own, wherever they stand."""
    right: Callable[[str], str] = lua.text
    names = [f"scripts/{file.name[:-4]}" for file in files("aioresp.recipes").joinpath("scripts").iterdir()]
    for part, old, _ in mutations:
        assert any(part in name and old in right(name) for name in names), f"{old!r} stands in no {part}"

    def text(asked: str) -> str:
        code = right(asked)
        for name, old, new in mutations:
            if name in asked:
                code = code.replace(old, new.replace("CLOCK", f"{clock:.0f}"))
        return code

    setattr(lua, "text", text)  # noqa: B010 (it is a function, which no type checker lets replace)
