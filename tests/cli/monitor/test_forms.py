"""What the monitor prints and records: text, JSON, JSON lines, and files that are played again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

import aioresp
from aioresp import Client
from aioresp.cli.app import app
from aioresp.cli.faults import Fault
from aioresp.cli.monitor import run as running
from aioresp.cli.monitor.form import VERSION, line, plain, rebuilt
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.record import Recorder
from aioresp.cli.monitor.replay import KINDS, Replay
from aioresp.cli.monitor.rows import ClientRow, Listing, Pace
from aioresp.cli.monitor.run import once_as_json, once_as_text
from aioresp.cli.monitor.source import Moment
from aioresp.cli.target import Target
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.cli.monitor.watched import APART

ROOT = Path(aioresp.__file__).parents[1]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server with a slow command, a queue and some keys."""
    with start_server(config={"slowlog-log-slower-than": "0"}) as running:

        async def fill() -> None:
            async with Client(running.url, client_name="shop") as r:
                await r.mset({f"key:{number}": "x" for number in range(20)})
                await r.rpush("{mails}:ready:0", "1")
                await r.config_set("slowlog-log-slower-than", 1_000_000)

        asyncio.run(fill())
        yield running


def chosen(server: Server, **files: Any) -> tuple[Any, ...]:
    return Target(server.url), (), files.get("record"), files.get("replay"), 1.0


# --- Once -------------------------------------------------------------------------------------------------------------


def test_once_as_text(own_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    once_as_text(*chosen(own_server))
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert lines[0].startswith(f"aioresp monitor  {own_server.flavour} ")
    assert f"127.0.0.1:{own_server.port}" in lines[0]
    assert re.search(r"^connections +0 open of 10,000   received 0/s   received in all \d+", said, re.MULTILINE)
    for label in ("traffic", "hit rate", "cpu", "memory", "keys", "persistence", "replication", "slow", "queues"):
        assert re.search(f"^{label} +[^ ]", said, re.MULTILINE), label
    assert "mails: 1 waiting, 0 delayed, 0 running, 0 dead" in said
    assert "! 1 jobs are in queues and the server has no AOF" in said
    assert str(own_server.password) not in said


def test_once_as_json(own_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    once_as_json(*chosen(own_server))
    said = json.loads(capsys.readouterr().out)
    assert (said["v"], said["kind"]) == (VERSION, "report")
    assert set(said) == {"v", "kind", "at", "moment", "clients", "commands", "slow", "queues"}
    moment = rebuilt(Moment, said["moment"])
    assert moment.whole.reading.keys == said["moment"]["whole"]["reading"]["keys"] == 21
    assert moment.whole.rates.received == 0
    assert said["moment"]["whole"]["rates"]["hit_rate"] is None
    assert [row["name"] for row in said["queues"]["rows"]] == ["mails"]
    for kind in ("clients", "commands", "slow", "queues"):
        assert plain(rebuilt(KINDS[kind], said[kind])) == said[kind]


def test_a_server_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["monitor", "redis://127.0.0.1:1", "--once"])
    assert done.exit_code == 1
    assert done.output == ("aioresp monitor: the server at 127.0.0.1:1 cannot be reached (connection refused)\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the screens need a terminal"),
        (["--once", "--record", "a", "--replay", "b"], "exclude each other"),
        (["--period", "0"], "--period"),
        (["--speed", "0"], "--speed"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["monitor", *words])
    assert done.exit_code == 2
    assert said in re.sub(r"[│\s]+", " ", done.output)


@pytest.mark.parametrize("option", ["--record", "--replay"])
def test_a_file_that_cannot_be_used(option: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["monitor", "--once", option, str(tmp_path / "nowhere" / "file")])
    assert done.exit_code == 1
    assert done.output.endswith("nowhere/file: No such file or directory\n")
    (tmp_path / "empty").write_text("nothing\n")
    done = CliRunner().invoke(app, ["monitor", "--once", "--replay", str(tmp_path / "empty")])
    assert (done.exit_code, done.output.count("holds no moment")) == (1, 1)
    done = CliRunner().invoke(app, ["monitor", "--once", "--replay", "/dev/zero"])
    assert (done.exit_code, done.output.count("is no file")) == (1, 1)


# --- Records ----------------------------------------------------------------------------------------------------------


async def test_a_record_is_played_again(own_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "record"
    recorder = Recorder(Live(Target(own_server.url)), path)
    moments = []
    for _ in range(4):
        moments.append(await recorder.read())
        await asyncio.sleep(APART)
    listings = [await recorder.clients(), await recorder.commands(), await recorder.slow(), await recorder.queues()]
    reports = [report async for report in recorder.scan_keys(Pace(None))]
    tails = [tail async for tail in recorder.tail(0.1)]
    assert "gone already" in await recorder.kill(
        ClientRow("", 10**9, "a:1", "", "", "", 0, 0, "", 0, "", 0, 0, 0, False)
    )
    await recorder.aclose()
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(own_server.password) not in path.read_text()

    replay = Replay(path)
    timeline = replay.timeline
    assert replay.address == recorder.address == f"redis://127.0.0.1:{own_server.port}"
    assert (await replay.read()).at == pytest.approx(moments[0].at, abs=1e-5)
    timeline.pause(True)
    timeline.seek(timeline.end + 100)
    assert timeline.at == timeline.end
    last = await replay.read()
    assert plain(last) == plain(moments[-1])
    timeline.seek(replay.moments()[1])
    assert (await replay.read()).at == pytest.approx(moments[1].at, abs=1e-5)
    assert len(replay.past(60)) == 2
    timeline.end = time.time()  # what was recorded after the last moment
    timeline.seek(timeline.end)
    found: list[Listing[Any]] = [
        await replay.clients(),
        await replay.commands(),
        await replay.slow(),
        await replay.queues(),
    ]
    assert [plain(each) for each in found] == [plain(each) for each in listings]
    assert plain([each async for each in replay.scan_keys(Pace())][-1]) == plain(reports[-1])
    assert plain([each async for each in replay.tail()][-1]) == plain(tails[-1])
    assert "recording" in await replay.kill(found[0].rows[0])
    await replay.aclose()


async def test_a_disk_that_is_full_ends_the_record_alone(own_server: Server, tmp_path: Path) -> None:
    """The figures are shown all the same, with a warning."""
    path = tmp_path / "record"
    path.symlink_to("/dev/full")
    recorder = Recorder(Live(Target(own_server.url)), path)
    moment = await recorder.read()
    assert moment.whole.reading is not None
    assert moment.notices[0].text == f"nothing is recorded any more: {path}: No space left on device"
    with pytest.raises(Fault, match=r"^--record: .*: No space left"):  # where nothing else is shown
        await running._stream(recorder, 0.1, silent=True)


async def test_a_record_runs_at_any_speed(own_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "record"
    recorder = Recorder(Live(Target(own_server.url)), path)
    await recorder.read()
    await asyncio.sleep(0.3)
    await recorder.read()
    await recorder.aclose()
    replay = Replay(path, speed=1000.0)
    await asyncio.sleep(0.01)
    assert replay.timeline.at == replay.timeline.end
    replay.timeline.speed = 0.1
    replay.timeline.seek(replay.timeline.begin)
    await asyncio.sleep(0.01)
    assert replay.timeline.begin <= replay.timeline.at < replay.timeline.end


async def test_a_torn_line_costs_no_more_than_itself(own_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "record"
    for _ in range(2):
        recorder = Recorder(Live(Target(own_server.url)), path)
        await recorder.read()
        await recorder.aclose()
        with path.open("ab") as file:
            file.write(b'{"v":1,"kind":"moment","at":17')  # its writer died here
    for strange in (
        '{"v":99,"kind":"moment","at":9000000000}',
        "[]",
        '{"v":1,"kind":"moment","at":9000000000,"moment":{}}',
        "\x00",
    ):
        with path.open("a") as file:
            file.write(f"\n{strange}\n")
    assert all(each.endswith("}") or "17" in each for each in path.read_text().splitlines()[:-9])
    replay = Replay(path)
    assert len(replay.moments()) == 3, "the two, and one that has a time and no figures"
    replay.timeline.seek(replay.timeline.end)
    assert (await replay.read()).whole.reading is not None


def test_a_record_of_strangers_only(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text('{"v":99,"kind":"moment","at":1}\n')
    with pytest.raises(Fault, match="no moment that this version can read"):
        Replay(path)


def test_the_form_leaves_nothing_out() -> None:
    rows = Listing(1.5, (ClientRow("", 1, "a", "ü", "", "", 1, 2, "N", 0, "get", 0, 0, -1, True),), "lacks", "note")
    said = json.loads(line({"clients": rows}))["clients"]
    assert rebuilt(Listing[ClientRow], said) == rows
    said["new"] = said["rows"][0]["new"] = "of a later version"
    assert rebuilt(Listing[ClientRow], said) == rows
    with pytest.raises(TypeError):
        rebuilt(Listing[ClientRow], {"at": 1, "rows": [{"id": 1}]})
    assert plain(float("inf")) is None


def test_the_page_names_all_fields_and_warnings() -> None:
    """docs/monitor.md is the reference of the form."""
    page = (ROOT / "docs/monitor.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9]+)`", page.partition("## JSON")[2]))
    shown: set[Any] = set()

    def walk(kind: Any) -> None:
        for inner in get_args(kind):
            walk(inner)
        origin: Any = get_origin(kind) or kind
        if origin not in shown and is_dataclass(origin):
            shown.add(origin)
            for hint in get_type_hints(origin).values():
                walk(hint)

    for kind in KINDS.values():
        walk(kind)
    assert len(shown) > 15
    assert {field.name for each in shown for field in fields(each)} - named == set()
    warnings = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    sources = "".join((ROOT / f"aioresp/cli/monitor/{name}.py").read_text() for name in ("notices", "live", "record"))
    assert set(re.findall(r'Notice\(\s*"([a-z_]+)"', sources)) - warnings == set()


# --- As a process -----------------------------------------------------------------------------------------------------


def started(server: Server, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aioresp", "monitor", server.url, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_lines_until_sigterm(own_server: Server, tmp_path: Path) -> None:
    """Each line is there at once, and what was recorded stays."""
    process = started(own_server, "--json", "--period", "0.2", "--record", str(tmp_path / "record"))
    assert process.stdout is not None
    reports = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (143, "aioresp monitor: interrupted\n")
    assert reports[2]["moment"]["whole"]["rates"]["received"] == 0
    assert len(Replay(tmp_path / "record").moments()) >= 3


@pytest.mark.ci
def test_a_reader_that_has_enough(own_server: Server) -> None:
    process = started(own_server, "--json", "--period", "0.1")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.ci
def test_kill_costs_a_line_at_most(own_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "record"
    process = started(own_server, "--record", str(path), "--period", "0.1")
    while not path.exists() or path.read_bytes().count(b'"kind":"moment"') < 5:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=30)
    lines = path.read_text().splitlines()
    assert all(json.loads(each)["v"] == VERSION for each in lines[:-1])
    assert len(Replay(path).moments()) >= 4
