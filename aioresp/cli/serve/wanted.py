"""Wish of a user of `aioresp serve`, and the settings of a server that grant it.

Owns what is kept where. Never starts a server.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aioresp.cli.faults import Fault
from aioresp.testing.servers import quoted

#: When a server with a folder saves all keys: after so many seconds with so many changes; and at its end.
SAVE: Final = "3600 1 300 100 60 10000"

#: Files of a folder with a whole append-only log, of 7.0 and newer, and of 6.2.
_LOGS: Final = ("appendonlydir/appendonly.aof.manifest", "appendonly.aof")

_SNAPSHOT: Final = "dump.rdb"

_EVERYWHERE: Final = ("0.0.0.0", "::", "*")


@dataclass(frozen=True)
class Wanted:
    """Wish of the user, as the command line says it."""

    port: int
    host: str
    folder: Path | None
    append_only: bool
    cluster: bool
    password: str | None
    maxmemory: str | None

    @property
    def everywhere(self) -> bool:
        """Whether it listens on all addresses of the machine."""
        return self.host in _EVERYWHERE

    @property
    def shown_host(self) -> str:
        """The host for the URL of a client on this machine."""
        if self.everywhere or self.host == "localhost":
            return "127.0.0.1"
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def logs(self) -> bool:
        """Whether each write is kept in a log; a folder that has one stays so, or its newest writes were ignored."""
        return self.append_only or (self.folder is not None and any((self.folder / name).exists() for name in _LOGS))

    @property
    def logs_later(self) -> bool:
        """Whether the log must begin after the start: a server that begins with one does not read the snapshot."""
        assert self.folder is not None
        return self.logs and (self.folder / _SNAPSHOT).exists() and not any((self.folder / n).exists() for n in _LOGS)

    def check_log(self, version: tuple[int, ...]) -> None:
        """Raise Fault if a server of this version overlooks the folder's log: it would start without the keys."""
        if self.folder is not None and version < (7,) and (self.folder / _LOGS[0]).exists():
            shown = ".".join(map(str, version))
            raise Fault(
                f"--dir {self.folder}: its log is of Redis 7.0 or newer, or of Valkey, and the server is Redis {shown}"
                ", which would not see these keys: name a newer one by AIORESP_SERVER"
            )

    def arguments(self) -> tuple[str, ...]:
        """Return the server's command line, which counts before what the testing kit writes into its configuration."""
        words: list[str] = []
        if self.everywhere:
            words += ["--bind", "*", "-::*"]
        elif self.shown_host != "127.0.0.1":
            words += ["--bind", "127.0.0.1", self._address()]
        if self.folder is not None:
            words += ["--dir", str(self.folder.absolute())]
        return tuple(words)

    def config(self) -> dict[str, str]:
        """Return the settings of the server, or of each node of a cluster."""
        found = {"loglevel": "warning"}
        if self.maxmemory is not None:
            found["maxmemory"] = self.maxmemory
        if not self.cluster:
            found["requirepass"] = "" if self.password is None else quoted(self.password)
        if self.folder is not None:
            found["save"] = SAVE
            found["appendonly"] = "yes" if self.logs and not self.logs_later else "no"
        return found

    def _address(self) -> str:
        try:
            ip_address(self.host)
        except ValueError:
            try:
                found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                raise Fault(f"--host {self.host}: {error.strerror}") from None
            return str(found[0][4][0])
        return self.host

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep the folder for this process. Raises Fault if another process has it, and OSError if it is of no use."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise Fault(f"--dir {self.folder}: it cannot be written: {error.strerror}") from None
        # A lock of the folder itself leaves no file behind, and ends with this process in any case.
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Fault(f"--dir {self.folder}: another `aioresp serve` keeps its keys there") from None
            except OSError:
                pass  # not every file system of a network has locks
            yield
        finally:
            os.close(handle)
