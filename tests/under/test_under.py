"""The comparison of redis-py's suite without the layer and with it, and a part of that suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from aioresp.testing.executables import bundled_server
from tests.under import FOLDER, LEFT_OUT, SERVERS, protocols
from tests.under.__main__ import AGREED, NOT_HERE, lines, main
from tests.under.compared import Known, compare, known
from tests.under.provided import Suite
from tests.under.runs import Lane, Outcome, Run, files_of, program_of, read

LANE = Lane("redis-8.0", "2")
PREFIX = "tests/test_asyncio/test_x.py::"


def outcomes(**ends: Outcome) -> dict[str, Outcome]:
    return {PREFIX + name: end for name, end in ends.items()}


def run(**ends: Outcome) -> Run:
    return Run(outcomes(**ends), {PREFIX + name: "call: it broke" for name, end in ends.items() if end == "failed"})


def listed(name: str, **where: tuple[str, ...]) -> Known:
    return Known(f"test_x.py::{name}", "by design", **where)


def test_a_failure_must_be_on_the_list() -> None:
    baseline = [outcomes(good="passed", bad="passed", gone="passed", theirs="failed", left="skipped")] * 2
    layered = run(good="passed", bad="failed", theirs="failed", left="skipped")
    verdict = compare(baseline, layered, LANE, "8.1.0", [])
    assert verdict.without == [PREFIX + name for name in ("good", "bad", "gone")]
    assert verdict.passed == [f"{PREFIX}good"]
    assert verdict.new == {f"{PREFIX}bad": "call: it broke", f"{PREFIX}gone": "missing: it did not run"}
    assert not verdict.agrees
    assert not compare(baseline, layered, LANE, "8.1.0", [listed("bad")]).agrees
    agreed = compare(baseline, layered, LANE, "8.1.0", [listed("bad"), listed("gone")])
    assert agreed.agrees
    assert agreed.known == [f"{PREFIX}bad", f"{PREFIX}gone"]


def test_a_skip_with_the_layer_is_a_failure() -> None:
    verdict = compare([outcomes(a="passed")], run(a="skipped"), LANE, "8.1.0", [])
    assert verdict.new == {f"{PREFIX}a": "skipped"}


def test_what_is_on_the_list_must_fail() -> None:
    verdict = compare([outcomes(a="passed")] * 2, run(a="passed"), LANE, "8.1.0", [listed("a")])
    assert verdict.stale == [f"{PREFIX}a"]
    assert not verdict.agrees


def test_an_entry_is_for_where_it_says() -> None:
    test = f"{PREFIX}a[pool]"
    assert listed("a").meets(test, LANE, "8.1.0")
    assert listed("a[pool]").meets(test, LANE, "8.1.0")
    assert not listed("a[single]").meets(test, LANE, "8.1.0")
    assert not listed("ab").meets(test, LANE, "8.1.0")
    assert listed("a", servers=("redis-8.0",), protocols=("2",), releases=("8.1.0",)).meets(test, LANE, "8.1.0")
    assert not listed("a", servers=("redis-7.0",)).meets(test, LANE, "8.1.0")
    assert not listed("a", protocols=("3",)).meets(test, LANE, "8.1.0")
    assert not listed("a", releases=("8.1.0",)).meets(test, LANE, "7.1.0")


def test_what_redis_py_passes_one_time_only_does_not_count() -> None:
    baseline = [outcomes(a="passed", b="passed"), outcomes(a="failed", b="passed")]
    verdict = compare(baseline, run(a="failed", b="passed"), LANE, "8.1.0", [])
    assert (verdict.without, verdict.unstable) == ([f"{PREFIX}b"], [f"{PREFIX}a"])
    assert verdict.agrees


def test_what_passes_the_second_time_is_told_apart() -> None:
    verdict = compare([outcomes(a="passed", b="passed")], run(a="failed", b="failed"), LANE, "8.1.0", [])
    verdict.try_again(run(a="passed", b="failed"))
    assert (verdict.again, [*verdict.new]) == ([f"{PREFIX}a"], [f"{PREFIX}b"])
    assert not verdict.agrees
    assert f"  failed, and passed when tried again: {PREFIX}a".replace("tests/test_asyncio/", "") in lines(
        LANE, verdict, 0, 0
    )


def test_nothing_compared_is_no_agreement() -> None:
    verdict = compare([outcomes(a="failed")] * 2, run(a="failed"), LANE, "8.1.0", [])
    assert not verdict.agrees
    assert lines(LANE, verdict, 0, 0)[-1] == "  no test was compared"


def test_each_entry_has_a_reason(tmp_path: Path) -> None:
    assert all(each.reason for each in known())
    path = tmp_path / "known.toml"
    for text in ('test = "a"', 'test = "a"\nreason = ""', 'test = "a"\nreason = "b"\nserver = ["redis-8.0"]'):
        path.write_text(f"[[known]]\n{text}\n")
        with pytest.raises(ValueError, match="needs test and reason"):
            known(path)


def test_the_files_are_those_of_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.under.provided.FOLDER", tmp_path)
    suite = Suite("1.2.3")
    folder = suite.folder / "tests" / "test_asyncio"
    folder.mkdir(parents=True)
    kept = ("test_commands.py", "test_connection_pool.py", "test_lock.py")
    for name in (*kept, "test_cluster.py", "test_connect.py", "test_connection.py", "conftest.py"):
        (folder / name).touch()
    assert files_of(suite, []) == [f"tests/test_asyncio/{name}" for name in kept]
    assert files_of(suite, ["test_lock.py"]) == ["tests/test_asyncio/test_lock.py"]
    with pytest.raises(ValueError, match=r"test_cluster\.py"):
        files_of(suite, ["test_cluster.py"])
    assert all(name.startswith("test_") for name in LEFT_OUT)
    assert protocols("8.1.0") == ("", "2", "3")
    assert protocols("7.1.0") == ("2", "3")


@pytest.mark.ci
@pytest.mark.timeout(900)
def test_a_part_of_the_suite_agrees_with_the_list(capfd: pytest.CaptureFixture[str]) -> None:
    """It skips only where the package index cannot be reached: the server is then one out of a package."""
    name = next((name for name in SERVERS if Path(program_of(name)).exists()), None) or bundled_server()
    assert name is not None
    parts = ("test_encoding.py", "test_lock.py", "test_monitor.py", "test_pipeline.py", "test_scripting.py")
    status = main([name, "--protocol=default", *(f"--file={part}" for part in parts)])
    said = capfd.readouterr()
    if status == NOT_HERE:
        pytest.skip(said.err)
    assert status == AGREED, said.out
    lane = Lane(name, "")
    with_, without = (read(FOLDER / "logs" / f"8.1.0-{lane.slug}-{which}.jsonl") for which in ("with", "without-0"))
    assert with_.sockets == 0
    assert without.sockets > 100
    first = next(test for test, end in with_.outcomes.items() if end == "passed")
    entry = Known(first.removeprefix("tests/test_asyncio/"), "a wrong entry")
    assert not compare([without.outcomes], with_, lane, "8.1.0", [*known(), entry]).agrees
