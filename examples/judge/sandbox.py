"""Run of one program, with limits.

THIS IS NO SANDBOX. The limits keep a program that goes wrong from hurting its worker. They do not keep one that means
harm from anything: it reads files, and where namespaces are forbidden it reaches the network. For the programs of
strangers use virtual machines (Firecracker, gVisor), or a service that has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from typing import IO, Final, Literal, NamedTuple

SECONDS: Final = float(os.environ.get("JUDGE_SECONDS", "2"))
OUTPUT: Final = 64 << 10
CPU: Final = 2
LIMITS: Final = (f"--cpu={CPU}", f"--as={256 << 20}", f"--fsize={OUTPUT}", "--nofile=32", "--core=0")
#: Without prlimit, what every shell has; macOS knows no limit of memory.
SHELL: Final = ("sh", "-c", f'ulimit -t {CPU}; ulimit -f 128; ulimit -n 32; ulimit -c 0; exec "$@"', "sh")

End = Literal["ok", "error", "timeout", "too much output", "too much memory"]


class Run(NamedTuple):
    """End of a run, and the output of its program."""

    end: End
    output: str
    errors: str
    seconds: float


async def run(program: str, given: str) -> Run:
    """Run a Python program with an input. All processes that it leaves are killed."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given.encode())
        stdin.seek(0)
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(*confinement().command, "-I", "-X", "utf8", "-c", program),
            cwd="/",  # no folder of its own: a worker that is killed leaves nothing
            env={"PATH": "/usr/bin:/bin"},  # ours has the password of the server
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        end: End = "ok"
        try:
            async with asyncio.timeout(SECONDS):
                await process.wait()
        except TimeoutError:
            end = "timeout"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        seconds, output, errors = time.monotonic() - began, _read(stdout), _read(stderr)
    if max(len(output), len(errors)) >= OUTPUT:  # the limit of its files has stopped it
        end = "too much output"
    elif end == "ok" and status:
        end = _reason(status, errors, seconds)
    return Run(end, output, errors.replace('File "<string>"', 'File "program.py"'), seconds)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT).decode(errors="replace")


def _reason(status: int, errors: str, seconds: float) -> End:
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and seconds > CPU / 2):
        return "timeout"  # of processor time, of which several processes use more in a second than there is
    last = errors.rstrip().rpartition("\n")[2]
    return "too much memory" if last.startswith("MemoryError") else "error"


class Confinement(NamedTuple):
    """Command line before the arguments of Python, and what it keeps the program from, in words."""

    command: tuple[str, ...]
    words: str


def _tasks() -> int:
    """Return the number of processes and threads that this user has, by which the system counts."""
    count = 0
    for entry in os.scandir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                count += len(os.listdir(f"{entry.path}/task"))
    return count


@cache
def confinement() -> Confinement:
    """Find the strictest command line that works here."""
    pythons = [sys.executable, *filter(None, [shutil.which("python3", path="/usr/bin:/bin")])]
    die = ("setpriv", "--pdeathsig", "KILL")  # with the worker, whatever kills that
    apart = ("--net", "--ipc", "--pid", "--fork", "--kill-child")
    few = ("prlimit", "--nproc=8", *LIMITS)
    more = ("prlimit", f"--nproc={_tasks() + 64}", *LIMITS)
    found: list[tuple[tuple[str, ...], str]] = []
    if os.geteuid() == 0:
        # Root is above the limit of processes. A number of this worker's own makes it count this worker's programs.
        user = str(200_000 + os.getpid() % 100_000)
        drop = ("--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs")
        words = "as another user, without network, at most 8 processes"
        found += [((*die, "unshare", *apart, *die, *drop, *few, python), words) for python in pythons]
        found += [((*die, "unshare", *apart, *few, pythons[0]), "as root, without network")]
    else:
        words = "without network, at most 8 processes"
        found += [((*die, "unshare", "--map-root-user", *apart, *few, pythons[0]), words)]
    found += [((*die, *more, pythons[0]), "with the network, as this user")]
    for command, words in found:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            test = (*command, "-I", "-c", "print(6 * 7)")
            if subprocess.run(test, capture_output=True, timeout=10, check=True).stdout == b"42\n":
                return Confinement(command, words)
    return Confinement((*SHELL, pythons[0]), "with the network, as this user")
