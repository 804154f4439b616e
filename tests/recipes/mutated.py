"""Mutations of the recipes: a script, or a method, that is wrong in one place, whose law's check must fail then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aioresp.recipes import lua


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
