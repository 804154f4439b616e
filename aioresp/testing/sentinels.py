"""Sentinel set of test servers: a primary, its replicas, and the sentinels that watch over them.

Owns the forming, the waits until the sentinels agree, and failovers. Never asks a sentinel SENTINEL
GET-MASTER-ADDR-BY-NAME, which clients do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

from aioresp.testing.ensemble import Ensemble, first_or_fail, in_threads
from aioresp.testing.member import SOON, Member
from aioresp.testing.servers import quoted
from aioresp.testing.sockets import HOST
from aioresp.testing.talk import expect, pairs

#: The password of the sentinels of this process, another than that of the servers: clients must not mix them up.
SENTINEL_PASSWORD = os.urandom(16).hex()


class Rewriter(Member):
    """A server that rewrites its configuration file when a sentinel changes its role; a restart keeps that."""

    def _configuration(self) -> str:
        path = os.path.join(self.folder, "server.conf")
        if not os.path.exists(path):
            return super()._configuration()
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for name, port in (("port", self.port), ("tls-port", self.tls_port)):  # it may start elsewhere
            text = re.sub(rf"(?m)^{name} [1-9]\d*$", f"{name} {port}", text)
        return text

    def _announcing(self, port: int) -> dict[str, str]:
        return {"replica-announce-ip": HOST, "replica-announce-port": str(port)}


class SentinelNode(Rewriter):
    """A sentinel of a `SentinelServers`."""

    def events(self, kind: str) -> list[str]:
        """Return what the sentinel has reported of an event of this name, as `+switch-master`, by its log."""
        return re.findall(rf" {re.escape(kind)} (.*)", self.log)

    def _announcing(self, port: int) -> dict[str, str]:
        return {"sentinel announce-ip": HOST, "sentinel announce-port": str(port)}

    def reset_stats(self) -> None:
        """Begin the count of connections again; a sentinel counts nothing else."""
        self._uncounted = int(self.info("stats")["total_connections_received"])

    def master(self, name: str) -> dict[str, str]:
        """Return what the sentinel says of the primary of this name (SENTINEL MASTER)."""
        return pairs(self.call("SENTINEL", "MASTER", name, timeout=SOON))


class SentinelServers(Ensemble[Member]):
    """A primary, replicas and sentinels for `with` or `async with`, real servers on free ports of 127.0.0.1.

    Entering takes some three seconds, so a fixture for a module or the whole run should do it.

    The sentinels call the primary `name`, take it for dead after `down_after` seconds of silence, and fail over if
    `quorum` of them do, by default the majority. Below 1.5 s they may fail over twice: a promoted replica closes its
    connections, and a sentinel connects again after a second. A failover that is not through after `failover_timeout`
    seconds is given up; the next may begin after twice that time.

    `config`, `executable` and `tls` are those of `server()`, for each server; `sentinel_config` is that of the
    sentinels. With `tls` all of them talk TLS among themselves, and the sentinels tell of TLS ports.

    The servers ask for a random password, as `server()` does, or for `password`, and the sentinels for another one, or
    for `sentinel_password`; an empty one leaves them open.

    `proxies` puts a `Proxy` before each server and each sentinel, `s.proxies[each]`; the sentinels tell of these ports.

    Methods block, as those of `Server` do: `await asyncio.to_thread(s.failover)` keeps the event loop running. What
    takes longer than `timeout` seconds raises ServerFailed.
    """

    def __init__(
        self,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        name: str = "mymaster",
        quorum: int | None = None,
        down_after: float = 1.5,
        failover_timeout: float = 3.0,
        password: str | None = None,
        sentinel_password: str | None = None,
        config: Mapping[str, str] | None = None,
        sentinel_config: Mapping[str, str] | None = None,
        executable: str | None = None,
        tls: tuple[str, str, str] | None = None,
        proxies: bool = False,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(timeout, proxies)
        if replicas < 0 or sentinels < 1:
            raise ValueError(f"replicas is {replicas} and sentinels {sentinels}: give at least 0 and 1")
        self.name = name
        self._tls = tls
        encrypted = {"tls-replication": "yes"} if tls else {}
        settings = {
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            **(config or {}),
            **encrypted,
        }
        self._watch = {
            "sentinel down-after-milliseconds": f"{name} {down_after * 1000:.0f}",
            "sentinel failover-timeout": f"{name} {failover_timeout * 1000:.0f}",
            "sentinel parallel-syncs": f"{name} {max(1, replicas)}",
        }
        self._quorum = sentinels // 2 + 1 if quorum is None else quorum
        self._servers = tuple(
            Rewriter(executable=executable, config=settings, password=password, tls=tls, timeout=timeout)
            for _ in range(1 + replicas)
        )
        told = SENTINEL_PASSWORD if sentinel_password is None else sentinel_password
        self._sentinels = tuple(
            SentinelNode(
                "--sentinel",
                executable=executable,
                config={**(sentinel_config or {}), **encrypted},
                password=told,
                tls=tls,
                timeout=timeout,
            )
            for _ in range(sentinels)
        )
        self._members = (*self._servers, *self._sentinels)

    @property
    def servers(self) -> tuple[Member, ...]:
        """The primary and the replicas, those that are down as well; the first primary comes first."""
        return self._servers

    @property
    def sentinels(self) -> tuple[SentinelNode, ...]:
        """The sentinels, those that are down as well."""
        return self._sentinels

    @property
    def url(self) -> str:
        """Address for a client: all sentinels, the name of the primary, and both passwords."""
        scheme = "redis" if self._tls is None else "rediss"
        secret = self.sentinel_password
        query = f"?sentinel_password={quote(secret, safe='')}" if secret else ""
        return f"{scheme}+sentinel://{self._servers[0].credentials}{','.join(self.addresses)}/{self.name}{query}"

    @property
    def addresses(self) -> list[str]:
        """Addresses of the sentinels, as `127.0.0.1:26379`."""
        return [f"{HOST}:{each.announced_port}" for each in self._sentinels]

    @property
    def password(self) -> str | None:
        """Password of the servers; None if they are open."""
        return self._servers[0].password

    @property
    def sentinel_password(self) -> str | None:
        """Password of the sentinels; None if they are open."""
        return self._sentinels[0].password

    def primary(self) -> Member:
        """Return the primary by the word of the sentinels: of those that run, the one with the newest configuration."""
        told = [each.master(self.name) for each in self._running_sentinels()]
        if not told:
            raise ValueError(f"no sentinel of {self!r} runs")
        newest = max(told, key=lambda fields: int(fields["config-epoch"]))
        return self._server_at(newest["port"])

    def replicas(self) -> list[Member]:
        """Return the running servers that say of themselves that they are replicas."""
        return [each for each in self._running_servers() if each.info("replication")["role"] == "slave"]

    def wait_until_promoted(self, old: Member, timeout: float | None = None) -> Member:
        """Wait until all running sentinels name another primary than this one, and return that."""

        def missing() -> str:
            for each in self._running_sentinels():
                if each.master(self.name)["port"] == str(old.announced_port):
                    return f"the sentinel on port {each.port} still names port {old.port}"
            heir = self.primary()
            return "" if heir.info("replication")["role"] == "master" else f"port {heir.port} is not a primary yet"

        self._until(missing, timeout)
        return self.primary()

    def failover(self, timeout: float | None = None) -> Member:
        """Let a sentinel promote a replica, and return the new primary when all running sentinels name it.

        The old one stays a primary that takes writes for some ten seconds more, as Sentinel does it.
        """
        old = self.primary()
        first_or_fail(f"no sentinel of {self!r} runs", self._running_sentinels()).call(
            "SENTINEL", "FAILOVER", self.name
        )
        return self.wait_until_promoted(old, timeout)

    def call_all(self, *words: str | bytes | int) -> None:
        """Send a command to every running server, as ACL SETUSER or CONFIG SET."""
        in_threads(lambda each: each.call(*words), self._running_servers())

    def flush(self) -> None:
        """Delete every key."""
        self.primary().call("FLUSHALL")

    def _running_servers(self) -> list[Member]:
        return [each for each in self._servers if each.reachable]

    def _running_sentinels(self) -> list[SentinelNode]:
        return [each for each in self._sentinels if each.reachable]

    def _server_at(self, port: str) -> Member:
        words = f"the sentinels name port {port}, where no server of {self!r} is"
        return first_or_fail(words, (each for each in self._servers if str(each.announced_port) == port))

    def _form(self) -> None:
        primary, *replicas = self._servers
        primary.start()
        for each in replicas:
            each.set_line("replicaof", f"{HOST} {primary.announced_port}")
        if replicas:
            in_threads(lambda each: each.start(), replicas)
        # A sentinel asks again after ten seconds only, so what it finds must be whole.
        self._until(self._out_of_step, None)
        for sentinel in self._sentinels:
            sentinel.set_line("sentinel monitor", f"{self.name} {HOST} {primary.announced_port} {self._quorum}")
            if primary.password:
                sentinel.set_line("sentinel auth-pass", f"{self.name} {quoted(primary.password)}")
            for setting, value in self._watch.items():
                sentinel.set_line(setting, value)
        in_threads(lambda each: each.start(), self._sentinels)
        with self._hurry():
            self._until(self._trouble, None)
        self.reset_stats()

    def _reunite(self) -> None:
        self._until(self._torn, None)
        primary = self.primary()
        for each in self._servers:
            # The sentinels would do it, too, but wait for ten seconds first.
            if each is not primary and each.info("replication").get("master_port") != str(primary.announced_port):
                each.call("REPLICAOF", HOST, primary.announced_port)
                each.call("CONFIG", "REWRITE")
        with self._hurry():
            self.wait_until_ok()

    @contextmanager
    def _hurry(self) -> Iterator[None]:
        """Let the sentinels look at the servers and tell each other of them without their usual pauses, since 7.0."""
        able = [each for each in self._running_sentinels() if each.version >= (7, 0)]
        for each in able:
            each.call("SENTINEL", "DEBUG", "INFO-PERIOD", 100, "PUBLISH-PERIOD", 100)
        try:
            yield
        finally:
            for each in able:
                each.call("SENTINEL", "DEBUG", "INFO-PERIOD", 10_000, "PUBLISH-PERIOD", 2000)

    def _torn(self) -> str:
        """Return whether the sentinels disagree on the primary, or it is none, or nothing."""
        told = {each.master(self.name)["port"] for each in self._running_sentinels()}
        if len(told) > 1:
            return f"the sentinels name the ports {', '.join(sorted(told))}"
        primary = self.primary()
        words = f"the server on port {primary.port}, which the sentinels name, is not a primary"
        return "" if primary.info("replication")["role"] == "master" else words

    def _out_of_step(self) -> str:
        """Return which replica is not in step with its primary, or nothing."""
        for each in self._running_servers():
            told = each.info("replication")
            if told["role"] == "slave" and (told["master_link_status"] != "up" or int(told["slave_repl_offset"]) < 1):
                return f"the replica on port {each.port} is not in step with its primary"
        return ""

    def _trouble(self) -> str:
        """Return why the set is not ok, or nothing."""
        servers, sentinels = self._running_servers(), self._running_sentinels()
        primary = self.primary()
        for each in sentinels:
            told = each.master(self.name)
            if told["port"] != str(primary.announced_port) or told["flags"] != "master":
                return f"the sentinel on port {each.port} says that port {told['port']} is {told['flags']}"
            if int(told["num-other-sentinels"]) < len(sentinels) - 1:
                return f"the sentinel on port {each.port} does not know all sentinels"
            rows = [pairs(row) for row in expect(list, each.call("SENTINEL", "REPLICAS", self.name, timeout=SOON))]
            healthy = {row["port"] for row in rows if row["flags"] == "slave" and row["master-link-status"] == "ok"}
            if lost := {str(server.announced_port) for server in servers if server is not primary} - healthy:
                return f"the sentinel on port {each.port} does not see the replicas on ports {', '.join(lost)}"
        if roles := [each.port for each in servers if each is not primary and each not in self.replicas()]:
            return f"the servers on ports {roles} are not replicas"
        return self._out_of_step()
