"""Replies of scripts and functions."""

from __future__ import annotations

from typing import Any

from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import each, mapping, record, string, words
from aioresp.typed import Generic


class Function(Record, Generic[AnyStr]):
    """A function of a library."""

    name: AnyStr
    description: AnyStr | None
    flags: set[str]


class Library(Record, Generic[AnyStr]):
    """A library of functions; `library_code` is None unless it was asked for."""

    library_name: AnyStr
    engine: str
    functions: list[Function[AnyStr]]
    library_code: AnyStr | None


class RunningFunction(Record, Generic[AnyStr]):
    """The function that is running, the command that called it, and for how long it has been running."""

    name: AnyStr
    command: list[AnyStr]
    duration_ms: int


class Engine(Record):
    """Numbers of libraries and functions that an engine has loaded."""

    libraries_count: int
    functions_count: int


class FunctionStats(Record, Generic[AnyStr]):
    """Reply of FUNCTION STATS: the running function, if any, and the engines by name."""

    running_script: RunningFunction[AnyStr] | None
    engines: dict[str, Engine]


def _engines(value: Any) -> dict[str, Engine]:
    return {string(name): _engine(said) for name, said in mapping(value).items()}


_engine: Converter[Engine] = record(Engine)
_functions = each(record(Function, flags=words))
libraries: Converter[list[Library[Any]]] = each(record(Library, engine=string, functions=_functions))
function_stats: Converter[FunctionStats[Any]] = record(
    FunctionStats, running_script=record(RunningFunction), engines=_engines
)
