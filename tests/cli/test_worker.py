"""`aioresp worker`: names that lead to no queue, what it says, and its life as a process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aioresp import Client
from aioresp.cli.app import app
from aioresp.cli.worker.load import CannotLoad, load
from aioresp.recipes import Counts, Queue
from aioresp.testing import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _keep_the_level_of_the_log() -> Iterator[None]:
    """A worker that runs in this process sets it, and later tests look at what is logged."""
    log = logging.getLogger("aioresp")
    level = log.level
    yield
    log.setLevel(level)


SHOP = """
from aioresp import Client
from aioresp.recipes import Queue

redis = Client("redis://localhost")
pictures = Queue(redis, "pictures")
mails = Queue(redis, "mails")


class Holder:
    queue = pictures


number = 5
"""

NAPS = """
import asyncio
import os

from aioresp import Client
from aioresp.recipes import Queue

redis = Client(os.environ["AIORESP_URL"])
queue = Queue(redis, "naps")


@queue.task
async def nap(seconds: float) -> str:
    print("began", flush=True)
    await asyncio.sleep(seconds)
    return "slept"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with modules; none of them stays imported."""
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "naps.py").write_text(NAPS)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "faulty.py").write_text("def make():\n    return 1 / 0\n\nmake()\n")
    (tmp_path / "needy.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "goes.py").write_text("raise SystemExit(3)\n")
    yield tmp_path
    sys.path[:] = path
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.mark.parametrize(("name", "queue"), [("shop:mails", "mails"), ("shop:Holder.queue", "pictures")])
def test_a_queue_is_found(folder: Path, name: str, queue: str) -> None:
    found = load(name)
    assert isinstance(found, Queue)
    assert found.name == queue


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop", "'shop' names no attribute: write shop:pictures or shop:mails"),
        ("empty", "there is no queue in empty; make one with"),
        ("shop:picture", "shop:picture: there is no 'picture': did you mean `pictures`?"),
        ("shop:xyz", "there is no 'xyz'; write shop:pictures or shop:mails"),
        ("shop:number", "shop:number is int, not a queue: write shop:pictures"),
        ("shop:Holder", "shop:Holder is type, not a queue"),
        ("shop.py", "'shop.py' is not of the form module:attribute, such as app:queue"),
        ("./shop:mails", "is not of the form module:attribute"),
        ("shop:", "is not of the form module:attribute"),
        (":mails", "is not of the form module:attribute"),
        ("nowhere:queue", "nowhere:queue: there is no module 'nowhere' in "),
        ("shop.inner:queue", "'shop.inner'"),
    ],
)
def test_a_name_that_leads_nowhere(folder: Path, name: str, said: str) -> None:
    with pytest.raises(CannotLoad) as caught:
        load(name)
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "last", "frames"),
    [
        ("faulty:queue", "ZeroDivisionError: division by zero\nfaulty:queue cannot be imported", 2),
        ("needy:queue", "No module named 'a_package_that_is_not_there'\nneedy:queue cannot be imported", 1),
        ("goes:queue", "SystemExit: 3\ngoes:queue cannot be imported", 1),
    ],
)
def test_a_module_with_a_fault(folder: Path, name: str, last: str, frames: int) -> None:
    """Its traceback shows the module, and nothing of this command or of Python's import."""
    with pytest.raises(CannotLoad) as caught:
        load(name)
    text = str(caught.value)
    assert text.endswith(last)
    assert text.count('  File "') == frames
    assert "importlib" not in text


@pytest.mark.parametrize("words", [[], ["shop:mails", "--concurrency", "0"], ["shop:mails", "--grace", "-1"]])
def test_wrong_usage(folder: Path, words: list[str]) -> None:
    assert CliRunner().invoke(app, ["worker", *words]).exit_code == 2


def test_what_cannot_be_worked(folder: Path) -> None:
    done = CliRunner().invoke(app, ["worker", "shop:sales"])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert done.output.startswith("aioresp worker: shop:sales: there is no 'sales'")
    done = CliRunner().invoke(app, ["worker", "shop:mails", "shop:mails"])
    assert done.exit_code == 1
    assert "the queue mails is named twice; raise --concurrency instead" in done.output
    with (folder / "shop.py").open("a") as module:
        module.write("\nagain = Queue(mails.redis, 'mails')\n")
    sys.modules.pop("shop", None)
    done = CliRunner().invoke(app, ["worker", "shop:mails", "shop:again"])
    assert done.exit_code == 1
    assert "two queues have the name mails, and each knows only its own tasks" in done.output


def test_without_the_extra(folder: Path) -> None:
    code = "import sys; sys.modules['msgspec'] = None; from aioresp.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "worker", "shop:mails"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "aioresp worker: needs the package msgspec: pip install 'aioresp[recipes]'\n"


def test_the_life_of_a_worker(folder: Path, server: Server) -> None:
    """It waits for its server, works, is told to stop, and is done with what it had."""

    async def put(*seconds: float) -> Counts:
        async with Client(server.url) as r:
            queue = Queue(r, "naps")

            @queue.task
            async def nap(seconds: float) -> None: ...

            for each in seconds:
                await nap.enqueue(each)
            return await queue.counts()

    asyncio.run(put(0.5, 30))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aioresp", "worker", "naps:queue", "--grace", "1.5"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AIORESP_URL": server.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["began\n"] * 2
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 0, log
    lines = [line.partition(" aioresp  ")[2] for line in log.splitlines() if "appendonly" not in line]
    assert lines[0].endswith("works the queue naps: nap")
    assert lines[1] == "SIGTERM: 2 jobs running, 1.5 s left"
    assert any("nap(): attempt 1 done in 0." in line for line in lines)
    assert any("nap(): attempt 1 given back after" in line for line in lines)
    assert asyncio.run(put()) == Counts(1, 0, 0, 0)
