"""Equality that also asks for the types: 1, True and 1.0 are three different answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from aioresp.record import Record

#: Turns what a `Client[str]` returns into what the client at hand returns.
Text: TypeAlias = Callable[[Any], Any]


class Since(Protocol):
    """Skips the test on a server that is too old for it.

    `version` is Redis's. Valkey's first release had what Redis 7.2 had, and nothing that Redis brought later unless
    `valkey` says in which of its own versions: `since(7, 4, valkey=(9, 0))`. Without `version` Redis does not have it.
    """

    def __call__(self, *version: int, valkey: tuple[int, ...] | None = None) -> None: ...


def spelled(value: object) -> str:
    """Return `value` with the types of all its parts, in an order that does not depend on hashes."""
    kind = type(value).__name__
    if isinstance(value, Record):
        return f"{kind}({', '.join(f'{name}={spelled(item)}' for name, item in vars(value).items())})"
    if isinstance(value, dict):
        return f"{kind}{{{', '.join(sorted(f'{spelled(key)}: {spelled(item)}' for key, item in value.items()))}}}"
    if isinstance(value, (set, frozenset)):
        return f"{kind}{{{', '.join(sorted(map(spelled, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"{kind}[{', '.join(map(spelled, value))}]"
    return f"{kind} {value!r}"


def exactly(actual: object, expected: object) -> None:
    """Assert that both are equal, in type too, and so are all their parts."""
    found, wanted = spelled(actual), spelled(expected)
    assert found == wanted, f"{found} is not {wanted}"


def as_bytes(value: object) -> object:
    """Return `value` with every str in it as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(item) for key, item in value.items()}
    if isinstance(value, (set, list, tuple)):
        return type(value)(map(as_bytes, value))
    return value
