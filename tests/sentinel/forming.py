"""A real Sentinel set for these tests: one primary, its replicas, and three sentinels that watch them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from typing import Final

from aioresp.testing.executables import find_executable
from aioresp.testing.sockets import ask

HOST: Final = "127.0.0.1"
NAME: Final = "mymaster"


class Process:
    """One server or sentinel."""

    def __init__(self, program: tuple[str, ...], folder: str, port: int, config: str, *options: str) -> None:
        self.port = port
        self.command = [*program, f"{folder}/{port}.conf", *options]
        self.folder = folder
        with open(self.command[len(program)], "w", encoding="utf-8") as file:
            file.write(f'port {port}\nbind {HOST}\nlogfile "{folder}/{port}.log"\ndir "{folder}"\n{config}')
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *command: str, login: tuple[str, ...] = ()) -> str:
        return ask((HOST, self.port), [*([["AUTH", *login]] if login else []), list(command)], 2.0)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Servers:
    """The processes of one set; `with Servers() as s`."""

    def __init__(
        self,
        executable: str | None = None,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        down_after: int = 500,
        config: str = "",
        sentinel_config: str = "",
        password: str = "",
        sentinel_password: str = "",
    ) -> None:
        self.program = find_executable(executable).program
        self.replicas, self.down_after, self.config, self.sentinel_config = (
            replicas,
            down_after,
            config,
            sentinel_config,
        )
        self.sentinel_count = sentinels
        self.password, self.sentinel_password = password, sentinel_password
        self.servers: list[Process] = []
        self.sentinels: list[Process] = []
        self.folder = ""

    def __enter__(self) -> Servers:
        self.folder = tempfile.mkdtemp(prefix="aioresp-sentinel-")
        try:
            self._form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _form(self) -> None:
        ports = free_ports(1 + self.replicas + self.sentinel_count)
        first = ports[0]
        auth = f"requirepass {self.password}\nmasterauth {self.password}\n" if self.password else ""
        common = f'save ""\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n{auth}{self.config}\n'
        for port in ports[: 1 + self.replicas]:
            of = "" if port == first else f"replicaof {HOST} {first}\n"
            self.servers.append(Process(self.program, self.folder, port, common + of))
        for port in ports[1 + self.replicas :]:
            more = f"sentinel auth-pass {NAME} {self.password}\n" if self.password else ""
            own = f"requirepass {self.sentinel_password}\n" if self.sentinel_password else ""
            config = (
                f"{own}sentinel monitor {NAME} {HOST} {first} 2\n{more}sentinel down-after-milliseconds {NAME} "
                f"{self.down_after}\nsentinel failover-timeout {NAME} 4000\n{self.sentinel_config}\n"
            )
            self.sentinels.append(Process(self.program, self.folder, port, config, "--sentinel"))
        for each in [*self.servers, *self.sentinels]:
            each.start()
        deadline = time.monotonic() + 30
        while not self.formed():
            if time.monotonic() > deadline:
                raise RuntimeError("the sentinels did not form")
            time.sleep(0.05)

    def formed(self) -> bool:
        login = (self.sentinel_password,) if self.sentinel_password else ()
        try:
            for each in self.sentinels:
                said = each.ask("SENTINEL", "CKQUORUM", NAME, login=login)
                if f"OK {self.sentinel_count} usable" not in said:
                    return False
                if not self._fields(each, login) >= {
                    ("num-slaves", str(self.replicas)),
                    ("num-other-sentinels", str(self.sentinel_count - 1)),
                    ("flags", "master"),
                }:
                    return False
            for each in self.servers[1:]:
                if "master_link_status:up" not in self.info(each):
                    return False
        except OSError:
            return False
        return True

    def _fields(self, each: Process, login: tuple[str, ...]) -> set[tuple[str, str]]:
        words = [
            line for line in raw(each.port, ["SENTINEL", "MASTER", NAME], login).split("\r\n") if line[:1] not in "*$%"
        ]
        return set(zip(words[::2], words[1::2], strict=False))

    def info(self, each: Process) -> str:
        return raw(each.port, ["INFO", "replication"], (self.password,) if self.password else ())

    def master(self, sentinel: int = 0) -> int:
        login = (self.sentinel_password,) if self.sentinel_password else ()
        said = raw(self.sentinels[sentinel].port, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME], login)
        return int(said.split("\r\n")[-2])

    def at(self, port: int) -> Process:
        return next(each for each in self.servers if each.port == port)

    def failover(self) -> None:
        """Ask for a planned failover, until a sentinel agrees."""
        login = (self.sentinel_password,) if self.sentinel_password else ()
        said = ""
        for _ in range(100):
            said = self.sentinels[0].ask("SENTINEL", "FAILOVER", NAME, login=login)
            if said.startswith("+OK"):
                return
            time.sleep(0.1)
        raise RuntimeError(said)

    def settle(self) -> None:
        """Wait until all is well again."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            port = self.master()
            if all(self.master(n) == port for n in range(self.sentinel_count)):
                others = [each for each in self.servers if each.port != port]
                if all(f"master_port:{port}" in (i := self.info(each)) and "link_status:up" in i for each in others):
                    login = (self.sentinel_password,) if self.sentinel_password else ()
                    if all(("flags", "master") in self._fields(each, login) for each in self.sentinels):
                        return
            time.sleep(0.1)
        raise RuntimeError("the set has not settled")

    @property
    def seeds(self) -> str:
        return ",".join(f"{HOST}:{each.port}" for each in self.sentinels)

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis+sentinel://{login}{self.seeds}/{NAME}"

    def __exit__(self, *_: object) -> None:
        for each in [*self.sentinels, *self.servers]:
            if each.process is not None:
                each.process.send_signal(signal.SIGCONT)
            each.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def raw(port: int, command: list[str], login: tuple[str, ...] = ()) -> str:
    """Return the whole reply to one command, as text."""
    with socket.create_connection((HOST, port), 2.0) as sock:
        words = [["AUTH", *login]] if login else []
        for each in [*words, command, ["PING"]]:
            sock.sendall(b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in each))
        data = b""
        while b"+PONG\r\n" not in data:
            got = sock.recv(65536)
            if not got:
                break
            data += got
    text = data.decode().removesuffix("+PONG\r\n")
    return text.removeprefix("+OK\r\n") if login else text
