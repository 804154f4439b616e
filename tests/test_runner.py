"""The runner of the suite itself: one loop for a test and its fixtures, of the kind and mode that was asked for."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import FRAMES, LOOP, pytest_ignore_collect

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.quick

seen: list[asyncio.AbstractEventLoop] = []


@pytest.fixture
async def loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    running = asyncio.get_running_loop()
    yield running
    assert asyncio.get_running_loop() is running


@pytest.mark.parametrize("time", ["first", "second"])
async def test_each_test_has_a_loop_which_its_fixtures_share(loop: asyncio.AbstractEventLoop, time: str) -> None:
    assert asyncio.get_running_loop() is loop
    assert loop not in seen
    seen.append(loop)


async def test_the_loop_is_the_one_that_was_asked_for() -> None:
    loop = asyncio.get_running_loop()
    assert type(loop).__module__.partition(".")[0] == LOOP
    assert loop.get_debug() is (LOOP == "asyncio")


@pytest.mark.skipif(LOOP != "asyncio", reason="uvloop notes no frames")
async def test_the_debug_mode_notes_few_frames() -> None:
    loop = asyncio.get_running_loop()
    future, task, handle = loop.create_future(), asyncio.ensure_future(asyncio.sleep(0)), loop.call_soon(int)
    await task
    for made in (future, task, handle):
        noted = cast(Any, made)._source_traceback
        assert 1 <= len(noted) <= FRAMES
        assert [name for _, _, name, _ in noted].count("test_the_debug_mode_notes_few_frames") == 1


@pytest.mark.skipif(LOOP != "asyncio", reason="uvloop notes no frames")
async def test_the_debug_mode_says_where_a_task_was_made(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("nobody awaits this")

    task = asyncio.ensure_future(fails())  # this line is told
    while not task.done():
        await asyncio.sleep(0)
    del task
    gc.collect()
    assert "source_traceback" in caplog.text
    assert "# this line is told" in caplog.text


def test_whole_stacks_are_written_as_ever() -> None:
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    assert len(traceback.format_stack()) == depth + 1
    assert "test_whole_stacks_are_written_as_ever" in traceback.format_stack()[-1]


async def test_debug_mode_can_be_left(no_debug: None) -> None:
    assert not asyncio.get_running_loop().get_debug()


def run_pytest(folder: Path, test: str, *arguments: str) -> str:
    """Run pytest on a test of its own, with the suite's configuration and conftest, and return what it printed."""
    (folder / "test_it.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-p", "tests.conftest", *arguments, str(folder / "test_it.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_a_coroutine_that_hangs_fails_where_it_hangs_and_its_fixtures_end(tmp_path: Path) -> None:
    test = """
        import asyncio
        import pytest

        @pytest.fixture
        async def ended():
            yield
            print("the fixture has ended")

        @pytest.mark.timeout(10)
        async def test_hangs(ended):
            await asyncio.Event().wait()
    """
    text = run_pytest(tmp_path, test, "-s")
    assert re.search(r"await asyncio\.Event\(\)\.wait\(\)", text), text
    assert "the fixture has ended" in text
    assert "1 failed" in text
    assert "TimeoutError" in text
    assert "Timeout >10" not in text  # pytest-timeout, which breaks into the loop


@pytest.mark.parametrize("option", ["fixture", "test"])
def test_no_scope_of_loops_is_left_to_the_plugin(pytestconfig: pytest.Config, option: str) -> None:
    assert pytestconfig.getini("asyncio_mode") == "auto"
    assert pytestconfig.getini(f"asyncio_default_{option}_loop_scope") == "function"
    assert "error" in pytestconfig.getini("filterwarnings")  # as the plugin warns where one is not set


def test_another_runner_has_no_part_in_it(tmp_path: Path) -> None:
    text = run_pytest(tmp_path, "import pytest\n\n@pytest.mark.anyio\nasync def test_nothing(): pass\n")
    assert "'anyio' not found in `markers`" in text


def test_files_without_a_quick_test_are_left_alone(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ignored(expression: str, name: str) -> bool:
        monkeypatch.setattr(pytestconfig.option, "markexpr", expression)
        return bool(pytest_ignore_collect(ROOT / "tests" / name, pytestconfig))

    for expression in ("quick", "quick and not soak and not ci"):
        assert ignored(expression, "test_maps.py")
        assert not ignored(expression, "test_runner.py")
        assert not ignored(expression, "wire")
    for expression in ("", "not soak", "not quick", "quick or soak"):
        assert not ignored(expression, "test_maps.py")
