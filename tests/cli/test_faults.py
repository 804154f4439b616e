"""What a user, a server or the system can cause, on every command: one sentence, an exit code, and no traceback."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from aioresp.cli.app import COMMANDS, app
from aioresp.cli.faults import EXTRAS, FAILED, INTERRUPTED, UNREAD, Fault, one_line
from aioresp.cli.serve.command import serve
from aioresp.cli.target import ADDRESSES, CONNECTION, PASSWORD
from aioresp.testing import Server, ServerFailed, ServerNotFound, server
from aioresp.testing.executables import VARIABLE
from tests.cli.test_command import ENVIRONMENT, ROOT, listen_to_ctrl_c

pytestmark = pytest.mark.timeout(60)

#: Words by which each command that connects begins to talk to the server at a URL, and soon ends by itself.
CONNECTING: Final[dict[str, Callable[[str], list[str]]]] = {
    "bench": lambda url: ["bench", url, "-n", "20"],
    "demo": lambda url: ["demo", "--count", "20", "--url", url],
    "monitor": lambda url: ["monitor", url, "--once"],
}

#: Commands that connect to no server that somebody names.
OTHERS: Final = {"serve", "worker"}

TLS: Final = "TLS to a port without"  # found out by a timeout

#: Faults: a URL, further words, and what the sentence says.
FAULTS: Final[dict[str, tuple[str, list[str], str]]] = {
    "no server": ("redis://127.0.0.1:1", [], "127.0.0.1:1"),
    "unknown host": ("redis://nowhere.invalid", [], "nowhere.invalid"),
    "no socket": ("unix:///nowhere/redis.sock", [], "nowhere/redis.sock"),
    "wrong password": ("redis://:topsecret@{address}", [], "WRONGPASS"),
    "wrong user": ("redis://{address}", ["--username", "bob", "--password", "topsecret"], "WRONGPASS"),
    "no password": ("redis://{address}", [], "NOAUTH"),
    TLS: ("rediss://:topsecret@{address}", [], "TLS"),
    "wrong scheme": ("http://user:topsecret@{address}", [], "the URL's scheme is 'http'"),
    "wrong option": ("redis://{address}?limits=3", [], "unknown option 'limits'"),
    "unreadable file": ("redis://{address}", ["--cacert", "/nowhere/ca.pem"], "--cacert: No such file or directory"),
    "no certificate": ("redis://{address}", ["--cacert", __file__], "--cacert: "),
}

NAMES: Final = [command.__name__ for command in COMMANDS]


@pytest.fixture(scope="module")
def closed() -> Iterator[Server]:
    """A server that wants a password."""
    with server() as s:
        yield s


def test_every_command_has_a_place_in_the_table() -> None:
    assert set(NAMES) <= CONNECTING.keys() | OTHERS


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.ci) if fault == TLS else fault for fault in FAULTS]
)
@pytest.mark.parametrize("command", [name for name in CONNECTING if name in NAMES])
def test_a_fault_is_told_in_one_sentence(
    closed: Server, monkeypatch: pytest.MonkeyPatch, command: str, fault: str
) -> None:
    monkeypatch.delenv("REDISCLI_AUTH", raising=False)
    url, words, said = FAULTS[fault]
    url = url.format(address=f"127.0.0.1:{closed.port}")
    done = CliRunner().invoke(app, [*CONNECTING[command](url), *words])
    assert done.exit_code == 1, done.output
    assert done.stdout == "", done.stdout
    assert done.stderr.startswith(f"aioresp {command}: ")
    assert said in done.stderr or (fault == TLS and "does not answer" in done.stderr)  # a busy machine ends it first
    assert done.stderr.count("\n") == 1
    assert "topsecret" not in done.output


@pytest.mark.parametrize("command", NAMES)
def test_wrong_usage(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--no-such-option"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_extra_is_named(package: str) -> None:
    error = ModuleNotFoundError(f"No module named '{package}.part'", name=f"{package}.part")
    assert one_line(error) == f"needs the package {package}: pip install 'aioresp[{EXTRAS[package]}]'"


def test_a_package_of_nobody_is_a_bug() -> None:
    assert one_line(ModuleNotFoundError("No module named 'aioresp.nothing'", name="aioresp.nothing")) is None
    assert one_line(RuntimeError("x")) is None
    assert one_line(ExceptionGroup("two", [Fault("x"), RuntimeError("y")])) is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a"), "/a: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ExceptionGroup("two", [Fault("first"), Fault("second")]), "first"),
        (
            ServerFailed("it ended; its log:\n7:M 01 Jan 2026 00:00:00.1 * a\n7:M 01 Jan 2026 00:00:00.2 * b\n\n"),
            "it ended; its log: a; b",
        ),
        (
            ServerFailed(
                "it ended; its log:\n7:M 01 Jan 2026 00:00:00.1 # Can't handle RDB format version 12\n"
                "7:M 01 Jan 2026 00:00:00.2 # WARNING Memory overcommit must be enabled!\n[info] 0 keys read"
            ),
            "it ended; its log: Can't handle RDB format version 12; another version of the server wrote the keys (name "
            "that one by AIORESP_SERVER), or a file is damaged",
        ),
        (ServerNotFound("it is none: a\nb"), "it is none: a"),
    ],
)
def test_errors_of_the_system(error: Exception, line: str) -> None:
    assert one_line(error) == line


# --- Output that cannot be written ------------------------------------------------------------------------------------


def piped(words: str, *, tail: str) -> tuple[int, str, str]:
    """Run `aioresp WORDS` in a shell, its output as `tail` says; return status, output and complaints."""
    script = f"set -o pipefail; {sys.executable} -m aioresp {words} {tail}"
    done = subprocess.run(
        ["bash", "-c", script], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40
    )
    return done.returncode, done.stdout, done.stderr


LONG: Final = ["demo --help", "--help", "serve --help", "monitor --help"]


@pytest.mark.parametrize("words", [LONG[0], *(pytest.param(words, marks=pytest.mark.ci) for words in LONG[1:])])
def test_a_reader_that_has_gone(words: str) -> None:
    status, _, said = piped(words, tail="| true")
    assert (status, said) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["--version", *(pytest.param(words, marks=pytest.mark.ci) for words in LONG)])
def test_a_full_disk(words: str) -> None:
    assert piped(words, tail="> /dev/full") == (1, "", "aioresp: standard output: No space left on device\n")


@pytest.mark.ci
@pytest.mark.parametrize("words", ["--version", "demo --count 20", "serve --port 0 & sleep 8; kill $!; wait $!"])
def test_a_closed_output(words: str) -> None:
    words, _, rest = words.partition(" &")
    assert piped(words, tail=f">&- {'&' if rest else ''}{rest}") == (0, "", "")


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", [["demo", "--count", "25000"], ["demo", "cluster"]])
def test_signals(words: list[str], number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aioresp", *words],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (128 + number, f"aioresp {words[0]}: interrupted\n")


# --- Completion -------------------------------------------------------------------------------------------------------


def completed(shell: str, line: str) -> set[str]:
    """Return the words that a shell would offer at the end of a line."""
    words = line.split(" ")
    environment = {
        "_AIORESP_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COLUMNS": "10000",  # as `main` has it
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="aioresp")
    found = done.stdout.strip()
    if shell == "zsh":
        return set(re.findall(r'"((?:[^"]|"")+)"(?::"(?:[^"]|"")*")?', found))
    return {each.partition("\t")[0] for each in found.splitlines()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_values(shell: str) -> None:
    assert completed(shell, "aioresp ") == set(NAMES)
    assert completed(shell, "aioresp demo c") == {"cluster"}
    assert completed(shell, "aioresp demo --pa") == {"--password"}
    assert completed(shell, "aioresp worker app:queue --log-level ") == {"debug", "info", "warning", "error"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str) -> None:
    done = CliRunner().invoke(app, [], env={"_AIORESP_COMPLETE": f"source_{shell}"}, prog_name="aioresp")
    assert done.exit_code == 0
    assert f"complete_{shell}" in done.stdout
    for option in ("--install-completion", "--show-completion"):
        assert option in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.ci
def test_bash_completes(tmp_path: Path) -> None:
    command = tmp_path / "aioresp"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m aioresp "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(_AIORESP_COMPLETE=source_bash aioresp)"; COMP_WORDS=(aioresp de); COMP_CWORD=1; '
        'complete -p aioresp; _aioresp_completion aioresp; echo "${COMPREPLY[@]}"'
    )
    environment = {**ENVIRONMENT, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=40)
    assert done.stdout.splitlines() == ["complete -o default -F _aioresp_completion aioresp", "demo"]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_names_every_command_option_of_a_connection_and_variable() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"`aioresp {name}" in text
    for parameter in CONNECTION:
        assert f"`--{parameter.name}" in text
    for variable in (*ADDRESSES, PASSWORD, VARIABLE):
        assert f"`{variable}`" in text
    for parameter_name in inspect.signature(serve).parameters:
        option = {"folder": "dir"}.get(parameter_name, parameter_name).replace("_", "-")
        assert f"`--{option}" in text
    for code in (FAILED, INTERRUPTED, UNREAD):
        assert re.search(rf"^\|.*\b{code}\b.*\|", text, re.MULTILINE)
