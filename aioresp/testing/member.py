"""Test server that is one of several: a node of a cluster, or a server or a sentinel of a Sentinel set.

Owns the kit's own connection to it, and the readings that tests assert on. Never knows the other servers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import quote

from aioresp.testing.gates import Gate, servers_address
from aioresp.testing.process import ServerFailed
from aioresp.testing.servers import Server, quoted
from aioresp.testing.sockets import HOST
from aioresp.testing.talk import Answer, Talk, fields

#: Seconds for the answer of a server that may have been frozen by others.
SOON = 1.0


class Member(Server):
    """A server of a `ClusterServers` or `SentinelServers`: a `Server` that answers the kit's questions, too.

    The kit asks over a unix socket with a connection of its own, which stays out of the counts below.
    """

    def __init__(
        self,
        *arguments: str,
        executable: str | None,
        config: Mapping[str, str],
        password: str | None,
        tls: tuple[str, str, str] | None,
        timeout: float,
        port: int | None = None,
    ) -> None:
        own = {} if password is None else dict.fromkeys(("requirepass", "masterauth"), password and quoted(password))
        super().__init__(
            *arguments, executable=executable, config={**config, **own}, port=port, tls=tls, timeout=timeout
        )
        self._own_password = password
        self._talk: Talk | None = None
        self._uncounted = 0  # connections of the kit's own since the counts were reset, which are not clients'
        self._gate: Gate | None = None
        self._frozen = False  # set by pause(); cleared by resume() and by the end of the process

    @property
    def password(self) -> str | None:
        """Password of the server: the kit's own, or the one that was asked for; None if it is open."""
        return super().password if self._own_password is None else self._own_password or None

    @property
    def url(self) -> str:
        """Address as a URL, with the password."""
        return f"redis://{self.credentials}{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        """TLS port as a URL, with the password; the test must make its client trust the certificate."""
        return super().tls_url and f"rediss://{self.credentials}{HOST}:{self.tls_port}"

    @property
    def credentials(self) -> str:
        """Part of a URL before the host: `:PASSWORD@`, or nothing for an open server."""
        return f":{quote(self.password, safe='')}@" if self.password else ""

    @property
    def announced_port(self) -> int:
        """Port that the server tells clients of: its own, its TLS port if it has one, or that of a proxy before it."""
        if self._gate is not None:
            return self._gate.port
        return self.tls_port or self.port

    @property
    def reachable(self) -> bool:
        """Whether the server runs and is not frozen."""
        return self.running and not self._frozen

    def call(self, *words: str | bytes | int, timeout: float | None = None) -> Answer:
        """Send a command and return its reply: text, a number, None, or a list of these.

        Raises ErrorReply for an error reply, and ServerFailed if no answer comes in `timeout` seconds.
        """
        with self._lock:
            seconds = self._timeout if timeout is None else timeout
            try:
                if self._talk is not None and self._talk.ended:
                    self._hang_up()
                if self._talk is None:
                    login = ["AUTH", self.password] if self.password else []
                    self._talk = Talk(self.unix_socket_path, login, seconds)
                    self._uncounted += 1
                return self._talk.call(words, seconds)
            except OSError as error:
                self._hang_up()
                raise ServerFailed(f"{self!r} gave no answer: {str(error) or type(error).__name__}") from None

    def set_line(self, name: str, value: str) -> None:
        """Set a line of the configuration file for the next start."""
        self._config[name] = value

    def stand_behind(self, gate: Gate) -> None:
        """Tell clients of the proxy's port, from the next start on."""
        self._gate = gate

    def info(self, section: str = "default") -> dict[str, str]:
        """Return the fields of INFO."""
        return fields(self.call("INFO", section))

    def errorstats(self) -> dict[str, int]:
        """Return how many errors of each kind the server has sent: `{"MOVED": 3}`."""
        found = self.info("errorstats").items()
        return {name.removeprefix("errorstat_"): int(text.removeprefix("count=")) for name, text in found}

    def commandstats(self) -> dict[str, int]:
        """Return how often each command has run: `{"get": 12, "cluster|slots": 1}` (Redis 6.2: `"cluster"`).

        The kit's own INFO, CONFIG RESETSTAT and CLUSTER NODES, INFO and SETSLOT are among them.
        """
        found = self.info("commandstats").items()
        return {name.removeprefix("cmdstat_"): int(text.split("=")[1].split(",")[0]) for name, text in found}

    def connections_received(self) -> int:
        """Return how many connections the server has accepted, without the kit's own but with those of replicas."""
        return int(self.info("stats")["total_connections_received"]) - self._uncounted

    def reset_stats(self) -> None:
        """Begin the counts above again."""
        self.call("CONFIG", "RESETSTAT")
        self._uncounted = 0

    def start(self, *, elsewhere: bool = False) -> None:
        """Start the server and wait until it answers, with the same folder, on the same port or `elsewhere`."""
        with self._lock:
            super().start(elsewhere=elsewhere)
            if self._gate is not None:
                scheme = "rediss" if self.tls_port else "redis"
                self._gate.stand_before(self.tls_port or self.port, f"{scheme}://{self.credentials}")
            self._frozen = False
            self.reset_stats()

    def stop(self, grace: float = 5.0) -> None:
        """End the server in good order, after `grace` seconds as `kill` does; `start` brings it back."""
        self._ending()
        super().stop(grace)

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL); `start` brings it back."""
        self._ending()
        super().kill()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing is answered."""
        self._ending()
        super().pause()
        self._frozen = True

    def resume(self) -> None:
        """Resume a frozen server (SIGCONT)."""
        super().resume()
        self._frozen = False

    def close(self) -> None:
        """End the server at once and remove its folder."""
        with self._lock:
            if self._process is None or self._process.ours:
                self._hang_up()
            super().close()

    def _configuration(self) -> str:
        if self._gate is None:
            return super()._configuration()
        lines = self._announcing(self._gate.port)
        if source := servers_address():
            new = self.version >= (7, 0)
            lines |= {"bind-source-addr": source} if new else {"bind": f"{source} {HOST}"}
        return super()._configuration() + "".join(f"{name} {value}\n" for name, value in lines.items())

    def _announcing(self, port: int) -> dict[str, str]:
        """Return the lines of the configuration that tell clients of another port."""
        raise NotImplementedError

    def _ending(self) -> None:
        """Prepare for the end of the process, or for its silence."""
        with self._lock:  # another thread may be in the middle of a call
            if self.reachable:
                with contextlib.suppress(ServerFailed):
                    self._last_words()
            self._hang_up()

    def _last_words(self) -> None:
        """Ask what can be asked no more afterwards."""

    def _hang_up(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None
