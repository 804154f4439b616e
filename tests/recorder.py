"""Whoever has an `execute` can be a client: this one keeps what it is told to send, and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Never, TypeAlias

import pytest

from aioresp.command import Arguments, Result
from aioresp.commands import Commands
from tests.cases import cases

#: A call of one command method.
Call: TypeAlias = Callable[["Recorder"], object]

#: Calls, each with the arguments that it sends.
Wire: TypeAlias = list[tuple[Call, Arguments]]

#: Calls that are refused before anything is sent, each with its error and a part of the message.
Refused: TypeAlias = list[tuple[Call, type[Exception], str]]


class Stub(Result[Any]):
    """Stands for a reply that nobody may touch: a command method hands it on as it is."""

    def __await__(self) -> Never:
        raise AssertionError("a command method awaited its reply")

    def send(self, value: Any) -> Never:
        raise AssertionError("a command method ran its reply")

    def throw(self, typ: Any, val: BaseException | object = None, tb: TracebackType | None = None) -> Never:
        raise AssertionError("a command method threw into its reply")

    def close(self) -> None:
        raise AssertionError("a command method closed its reply")


class Recorder(Commands[str]):
    """The typed commands over a list: `calls` has the arguments and the converter of each."""

    def __init__(self) -> None:
        self.calls: list[tuple[Arguments, Callable[[Any], Any]]] = []
        self.stub = Stub()

    def execute(self, arguments: Arguments, reply: Callable[[Any], Any]) -> Result[Any]:
        self.calls.append((arguments, reply))
        return self.stub


def sent(call: Call) -> Arguments:
    """Return the arguments that `call` sends: of one command, whose reply it hands on untouched."""
    recorder = Recorder()
    assert call(recorder) is recorder.stub
    ((arguments, reply),) = recorder.calls
    assert callable(reply)
    return arguments


def wire(table: Wire) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test for each line of `table`, as `call` and `arguments`."""
    return cases("call, arguments", table, ids=[" ".join(map(str, line[1])) for line in table])


def refused(table: Refused) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test for each line of `table`, as `call`, `error` and `message`."""
    return cases("call, error, message", table, ids=[line[2] for line in table])


def check_refused(call: Call, error: type[Exception], message: str) -> None:
    """Assert that `call` raises `error` with `message` in its text, and that nothing was sent."""
    recorder = Recorder()
    with pytest.raises(error, match=re.escape(message)):
        call(recorder)
    assert recorder.calls == []
