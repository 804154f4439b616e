"""Faults that a command's user can act on: one sentence on standard error, and the exit code.

Owns the exit codes and the list of errors that are no bugs. Never hides any other error: that is a bug and keeps its
traceback.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import select
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, ParamSpec, TypeVar

import typer

from aioresp.cli.interrupt import Interrupted, ignore
from aioresp.errors import RedisError
from aioresp.testing import ServerFailed, ServerNotFound

P = ParamSpec("P")
R = TypeVar("R")

#: Exit codes. Wrong usage is Typer's 2; Ctrl-C and SIGTERM are 128 and the number of the signal.
FAILED: Final = 1
INTERRUPTED: Final = 130
UNREAD: Final = 141  # 128 and SIGPIPE, as of any program whose output is no longer read

#: Prefix of the text in a line of a server's log.
_LOGGED: Final = re.compile(r"^\s*\d+:\w [\w :.]+ \W ")

#: What a server's log has at each start, of settings of the machine that end no server.
_SETTINGS: Final = re.compile("Memory overcommit|Transparent Huge", re.IGNORECASE)

#: Words of a server that cannot read the keys of an earlier run.
_UNREADABLE: Final = re.compile(
    "RDB format version|Wrong signature trying to load|Bad file format reading|loading the DB|reading RDB|opcode"
)

#: The extra that brings a package.
EXTRAS: Final = {
    **dict.fromkeys(("typer", "rich", "textual", "matplotlib"), "cli"),
    **dict.fromkeys(("msgspec", "cronsim", "anyio"), "recipes"),
    "uvloop": "uvloop",
}


class Fault(Exception):
    """Fault that the user can act on; the message is a sentence that says how, without the name of the command."""


#: The errors that `one_line` explains.
EXPECTED = (Fault, RedisError, OSError, ServerFailed, ServerNotFound)


@contextmanager
def telling(command: str, address: str | None = None) -> Iterator[None]:
    """End the command with one sentence and its exit code where the user, a server or the system is at fault.

    The sentence names the server at `address`.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        ignore()
        complain(command, "interrupted")
        raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else INTERRUPTED) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and unread():
            raise typer.Exit(UNREAD) from None
        line = one_line(error, address)
        if line is None:
            raise
        fail(command, line)


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Return the function of a command that ends as `telling` says."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        with telling(command.__name__):
            return command(*arguments, **options)

    return run


def complain(command: str, line: str) -> None:
    """Print a sentence about what went wrong on standard error."""
    typer.echo(f"aioresp {command}: {line}", err=True)


def fail(command: str, line: str) -> NoReturn:
    """Print a sentence about what went wrong on standard error, and end the command."""
    complain(command, line)
    raise typer.Exit(FAILED) from None


def one_line(error: BaseException, address: str | None = None) -> str | None:
    """Return what to tell the user, naming the server at `address`; None if the user could not understand it."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        return None if extra is None else f"needs the package {package}: pip install 'aioresp[{extra}]'"
    leaves = list(_leaves(error))
    if not leaves or not all(isinstance(leaf, EXPECTED) for leaf in leaves):
        return None
    leaf = leaves[0]  # of the others most follow from the first
    text = _text(leaf)
    advice = "" if isinstance(leaf, Fault) else _advice(text)
    if address is not None and isinstance(leaf, RedisError) and address.rpartition("//")[2] not in text:
        text = f"{address}: {text}"
    return text + advice


def unread(output: int = 1) -> bool:
    """Return whether standard output is a pipe that nobody reads any more, as before `| head`."""
    try:
        poll = select.poll()
        poll.register(output, 0)
        return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))
    except (OSError, AttributeError):
        return False


def _text(leaf: BaseException) -> str:
    if isinstance(leaf, RedisError) and leaf.args:
        # Not str() of ours: it names the one command, of thousands, that happened to meet the error first.
        return str(leaf.args[0])
    if isinstance(leaf, ServerFailed):
        head, *log = str(leaf).splitlines()
        told = [line for line in log if line.strip() and not _SETTINGS.search(line)]
        # Lines at warning level say why; a broken file of keys has many more behind them.
        said = [_LOGGED.sub("", line) for line in [line for line in told if " # " in line] or told]
        return f"{head} {'; '.join(said[-2:])}" if said else head
    if isinstance(leaf, OSError) and leaf.strerror is not None and not isinstance(leaf, ssl.SSLError):
        return leaf.strerror if leaf.filename is None else f"{leaf.filename}: {leaf.strerror}"
    return str(leaf).partition("\n")[0] or type(leaf).__name__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _advice(text: str) -> str:
    """Return what to do about it, told by the text: a server's and a system's words arrive inside of ConnectError."""
    if "max number of clients" in text:
        return "; this command opens many connections at a time: raise the server's maxclients"
    if os.strerror(errno.EADDRNOTAVAIL) in text:
        return "; this machine's ports are used up: wait a minute, or open fewer connections"
    if os.strerror(errno.EMFILE) in text:
        return "; raise the limit of open files (ulimit -n)"
    if _UNREADABLE.search(text):
        return "; another version of the server wrote the keys (name that one by AIORESP_SERVER), or a file is damaged"
    if text.startswith("MOVED "):
        return "; the server is one of a cluster: write redis+cluster://, where the command takes a cluster"
    return ""
