"""The parts of the benchmark that need no server: histogram, commands, refusals, comparison, verdicts."""

from __future__ import annotations

import io
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aioresp.cli.bench.compare import Difference, check, compare, remarks
from aioresp.cli.bench.figures import figures, load, to_json
from aioresp.cli.bench.histogram import LEAST, MOST, Histogram
from aioresp.cli.bench.keys import Keys, sets_ttl
from aioresp.cli.bench.plan import MOST_CONNECTIONS, Plan
from aioresp.cli.bench.progress import Progress, Round, planned
from aioresp.cli.bench.refusals import refusal
from aioresp.cli.bench.server import Counters, Facts, Reading, Used
from aioresp.cli.bench.summary import print_comparison, print_summary
from aioresp.cli.bench.tally import PATIENCE, Gone, Tally, kind_of
from aioresp.cli.bench.template import NAMED, RING, BadCommand, Maker, named, written
from aioresp.cli.bench.verdict import judge, sentences
from aioresp.cli.bench.work import templates
from aioresp.cli.faults import Fault
from aioresp.errors import ConnectionLost, ResponseError

# --- Histogram -------------------------------------------------------------------------------------------------------


def test_percentiles_are_right_to_one_percent() -> None:
    chance = random.Random(1)
    values = [math.exp(chance.uniform(math.log(2e-6), math.log(100))) for _ in range(5_000)]
    histogram = Histogram()
    histogram.add_all(list(values))
    for percent in (0.1, 1, 50, 90, 99, 99.9, 99.99):
        true = sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
        assert histogram.percentiles((percent,))[0] == pytest.approx(true, rel=0.0101)
    assert histogram.percentiles((100,)) == [max(values)] == [histogram.highest]
    assert histogram.mean == pytest.approx(sum(values) / len(values), rel=0.0101)


def test_adding_many_and_one_by_one_is_the_same() -> None:
    chance = random.Random(2)
    values = [chance.expovariate(1000) for _ in range(1_000)] + [0.0, LEAST, 2 * MOST]
    one, many = Histogram(), Histogram()
    for value in values:
        one.add(value)
    many.add_all(list(values))
    assert one.counts == many.counts
    assert one.highest == many.highest == 2 * MOST
    assert len(one) == len(values) == sum(count for _, count in many.filled())


def test_histograms_add_up_in_constant_memory() -> None:
    one, two = Histogram(), Histogram()
    one.add(0.001, 3)
    two.add(0.1)
    size = len(one.counts)
    one += two
    assert (len(one), one.highest, len(one.counts)) == (4, 0.1, size)
    assert Histogram().percentiles((50, 99)) == [0.0, 0.0]


def test_a_tally_of_very_many_sorts_them_in_by_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioresp.cli.bench.tally.HELD", 3_000)
    tally = Tally()
    tally.latencies += [0.001] * 4_000
    tally.drain()
    tally.drain()
    assert len(tally.latencies) == 2_000
    assert tally.calls == 4_000 == len(tally.histogram)


def test_a_server_counts_as_gone_only_if_nothing_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.0, 0.5, 2.0, 4.0, 6.0, 8.0, 10.0, 11.1))
    monkeypatch.setattr("aioresp.cli.bench.tally.perf_counter", lambda: next(times))
    tally = Tally()
    tally.begin()
    for _ in range(3):
        assert tally.fail(ConnectionLost("away")) > 0
    tally.latencies.append(0.001)
    for _ in range(3):
        tally.fail(ConnectionLost("away"))
    assert tally.fail(ResponseError("OOM command not allowed")) == 0.0
    assert PATIENCE == 5.0
    with pytest.raises(Gone):
        tally.fail(ConnectionLost("away"))
    assert tally.errors == {"ConnectionLost": 7, "ResponseError OOM": 1}
    assert kind_of(ResponseError("secret value")) == "ResponseError"


# --- Commands --------------------------------------------------------------------------------------------------------


def test_placeholders() -> None:
    maker = Maker(written(["HSET", "{key}", "f{seq}", "{data}", "a{data}b", "{{key}}"]), "p:", 10, 4, seed=1)
    commands = maker.commands()
    first, second = next(commands), next(commands)
    assert first[0] == "HSET"
    assert first[1].startswith("p:")
    assert 0 <= int(first[1][2:]) < 10
    assert (first[2:], second[2]) == (("f0", "xxxx", "axxxxb", "{key}"), "f1")
    assert set(maker.names()) == {f"p:{n}" for n in range(10)}


def test_pipelines_are_lists_of_commands() -> None:
    for words in (["GET", "{key}"], ["SET", "{prefix}{seq}", "{data}"], ["PING"]):
        maker = Maker(written(words), "p:", 10, 4, seed=1)
        commands = maker.commands(3)
        batches = [next(commands) for _ in range(5)]
        assert all(len(batch) == 3 and all(each[0] == words[0] for each in batch) for batch in batches)


def test_a_large_value_is_there_once() -> None:
    maker = Maker(written(["SET", "{key}", "{data}"]), "p:", 10, 1_000_000, seed=1)
    commands = maker.commands()
    assert next(commands)[2] is next(commands)[2]
    maker = Maker(written(["SET", "{key}", "-{data}-"]), "p:", 10, 10_000_000, seed=1)
    next(maker.commands())
    assert len(maker._ring) == 16


def test_of_very_many_keys_those_that_were_drawn_are_deleted() -> None:
    maker = Maker(written(["SET", "{key}", "{prefix}{rand}"]), "p:", 2_000_000, 4, seed=1)
    commands = maker.commands(count=100)
    sent = {word for _ in range(100) for word in next(commands)[1:]}
    names = set(maker.names())
    assert sent <= names
    assert len(names) <= 2 * RING
    again = {next(maker.commands(count=100))[1] for _ in range(3)}
    assert len(again) == 3  # each round draws anew


def test_names_are_all_that_was_written() -> None:
    maker = Maker(written(["SET", "{prefix}a{seq}", "1"]), "p:", 10, 4, seed=1)
    commands = maker.commands()
    for _ in range(3):
        next(commands)
    assert set(maker.names()) == {"p:a0", "p:a1", "p:a2"}
    keys = Keys()
    for name in ("set", "get", "mset"):
        keys.maker(named(name), 5, 3)
    assert sorted(keys._names()) == [f"{keys.prefix}{n}" for n in range(5)]  # each once


@pytest.mark.parametrize("name", NAMED)
def test_named_commands_are_never_refused(name: str) -> None:
    template = named(name)
    assert refusal(template.words) is None
    assert all(key.startswith("{prefix}") for key in template.own_keys)


@pytest.mark.parametrize("words", [["GET", "{random}"], ["SET", "{key}{rand}", "1"], ["SET", "{key}{key}", "1"]])
def test_bad_placeholders(words: list[str]) -> None:
    with pytest.raises(BadCommand):
        written(words)


def test_a_command_may_be_one_word_of_the_shell() -> None:
    assert templates(["SET {key} 'a b'"], ["get"])[0].words == ("SET", "{key}", "a b")
    assert [each.name for each in templates([], ["GET", "set", "get"])] == ["get", "set"]
    for words, tests in ((["'"], []), ([" "], []), ([], []), ([], ["nothing"])):
        with pytest.raises(BadCommand):
            templates(words, tests)


# --- Refusals --------------------------------------------------------------------------------------------------------

REFUSED = """
" FLUSHALL | FLUSHDB ASYNC | KEYS * | SHUTDOWN NOSAVE | DEBUG SLEEP 1 | CONFIG SET save '' | config get * | SAVE |
BGSAVE | BLPOP {key} 0 | BRPOP {key} 1 | BLMOVE {key} {key} LEFT RIGHT 0 | XREAD BLOCK 0 STREAMS {key} $ |
BZMPOP 0 1 {key} MIN | SUBSCRIBE a | PSUBSCRIBE a | SSUBSCRIBE a |
SCAN 0 COUNT 1000000 | MONITOR | SYNC | PSYNC ? -1 | REPLICAOF NO ONE |
FAILOVER | CLUSTER RESET | SWAPDB 0 1 | MIGRATE h 1 {key} 0 1 | MOVE {key} 1 | COPY {key} {prefix}b DB 2 |
EVAL return 0 | EVALSHA a 0 | FCALL f 0 | SCRIPT FLUSH | FUNCTION FLUSH | CLIENT KILL ID 1 | CLIENT PAUSE 1000 |
ACL SETUSER a | MODULE LOAD a | PUBLISH a b | SELECT 1 | AUTH a | MULTI | EXEC | WATCH {key} | QUIT | RESET |
HELLO 3 | WAIT 1 0 | WAITAOF 1 0 0 | SLOWLOG RESET | LATENCY RESET | BGREWRITEAOF | NONSENSE | SET user:1 2 |
DEL user:{rand} | MSET {key} 1 user:1 2 | RENAME user:1 {key} | SORT {key} STORE user:1 |
SUNIONSTORE user:1 {key} | LMOVE {key} user:1 LEFT RIGHT | JSON.SET user:1 $ 1 | BITOP NOT a b |
XGROUP CREATE user:1 g $ | GEORADIUS {key} 0 0 1 m STORE user:1 | SPUBLISH a b | COPY user:1 user:2
"""


@pytest.mark.parametrize("line", [line.strip() for line in REFUSED.replace("\n", " ").split("|")])
def test_refused(line: str) -> None:
    words = line.split()
    assert (why := refusal(words)) is not None
    assert words[0].upper() in why


@pytest.mark.parametrize(
    "line",
    [
        *("GET user:{rand}", "MGET a b", "HGETALL user:1", "PING", "ECHO a", "TIME", "DBSIZE", "SCAN 0", "EXISTS a"),
        *("SET {key} {data}", "SET {prefix}{seq} 1", "LPUSH {prefix}list a", "DEL {key}", "ZADD {key} 1 a"),
        *("SUNIONSTORE {prefix}a {prefix}b", "EVAL_RO s 1 user:1", "XREAD STREAMS a 0", "OBJECT ENCODING a"),
        *("COPY {key} {prefix}b", "JSON.SET {key} $ 1", "XADD {key} * a b", "XGROUP CREATE {key} g $ MKSTREAM"),
    ],
)
def test_harmless(line: str) -> None:
    assert refusal(line.split()) is None


def test_own_keys_need_the_users_word() -> None:
    assert refusal(["SET", "user:1", "2"]) is not None
    assert refusal(["SET", "user:1", "2"], my_keys=True) is None
    assert refusal(["JSON.GET", "user:1"], my_keys=True) is None
    assert refusal(["FLUSHALL"], my_keys=True) is not None
    assert refusal(["EVAL", "s", "1", "user:1"], my_keys=True) is None
    assert refusal(["SCRIPT", "FLUSH"], my_keys=True) is not None


def test_ttl_of_a_command() -> None:
    assert sets_ttl(("SET", "k", "v", "EX", "1"))
    assert sets_ttl(("set", "k", "v", "px", "1"))
    assert sets_ttl(("SETEX", "k", "1", "v"))
    assert not sets_ttl(("SET", "k", "EX"))
    assert not sets_ttl(("LPUSH", "k", "v"))


# --- Plan ------------------------------------------------------------------------------------------------------------


def plan(**options: Any) -> Plan:
    return Plan((named("get"),), ("fresh", "classic", "shared"), **options)


def test_plans_that_are_never_run() -> None:
    for wrong in (
        plan(tasks=MOST_CONNECTIONS + 1),
        Plan((named("get"),), ("shared",), tasks=100_001),
        Plan((named("get"),), ("nothing",)),
        Plan((named("get"),), ()),
        plan(rate=1e3, loop="uvloop"),
        plan(rate=math.nan),
        plan(size=1 << 30),
        Plan((written(["FLUSHALL"]),), ("shared",)),
    ):
        with pytest.raises(BadCommand):
            wrong.check()
    Plan((named("get"),), ("shared",), tasks=20_000).check()


def test_calls_of_a_round() -> None:
    assert plan(count=1_000).calls("shared") == 200
    assert plan(count=1_000, pipeline=10).calls("shared") == 20
    assert plan(count=1).calls("shared") == 1
    assert plan(count=101).calls("shared") == 21  # at least as many as asked
    assert plan(count=1_000_000).calls("fresh") == MOST_CONNECTIONS // 5
    assert plan(seconds=10.0).calls("shared") is None
    assert plan(seconds=10.0).calls("fresh") == MOST_CONNECTIONS // 5
    assert plan(seconds=10.0, rate=500.0).calls("shared") == 1_000
    three = Plan((named("get"), named("set"), named("incr")), ("fresh",), count=1_000_000)
    assert (three.calls("fresh") or 0) * 5 * 3 <= MOST_CONNECTIONS  # all commands together


def test_each_task_has_a_call_in_each_round() -> None:
    assert plan().rounds_of_use == 5
    assert plan(tasks=5_000, count=5_000).rounds_of_use == 1
    assert plan(tasks=5_000).rounds_of_use == 2  # of 10,000 connections
    assert plan(tasks=5_000, seconds=60.0).rounds_of_use == 2
    assert plan(tasks=50, count=1_000, pipeline=10).rounds_of_use == 2
    assert plan(count=1).rounds_of_use == 1


# --- Counters of a server --------------------------------------------------------------------------------------------


def counters(commands: int, connections: int = 0, cpu: float = 0.0) -> Counters:
    return Counters(connections, commands, cpu, cpu, 0, 0, None)


def test_a_server_that_has_started_again_counts_from_its_start() -> None:
    used = Used()
    used.add(Reading(0.0, {"a": counters(1_000, 50, 9.0)}), Reading(2.0, {"a": counters(10, 3, 0.5)}))
    assert (used.commands, used.connections, used.cpu, used.seconds) == (10, 3, 0.5, 2.0)
    used.add(Reading(2.0), Reading(3.0, {"a": counters(20)}))  # it was away at the beginning
    assert used.commands == 10


def test_the_busiest_server_of_a_cluster_counts() -> None:
    used = Used()
    before = {"a": counters(0), "b": counters(0)}
    used.add(Reading(0.0, before), Reading(1.0, {"a": counters(1, 1, 0.9), "b": counters(1, 1, 0.1)}))
    assert (used.cpu, used.busiest, used.connections) == (1.0, 0.9, 2)


# --- Verdicts, figures, comparison -----------------------------------------------------------------------------------


def ran(rate: float = 1_000.0, cpu: float = 1.0, server: float = 0.2, spread: float = 0.01, **options: Any) -> Progress:
    found = planned(plan(**options), "redis://127.0.0.1:6379")
    found.complete = True
    found.facts = Facts(flavour="valkey", version="9.1.0")
    for lane in found.lanes:
        lane.total.latencies += [0.001] * 990 + [0.01] * 10
        lane.total.seconds = 1_000 / rate
        lane.cpu = cpu * lane.total.seconds
        lane.used.seconds, lane.used.commands = lane.total.seconds, 1_000
        lane.used.busiest = lane.used.cpu = server * lane.total.seconds
        lane.rounds = [Round(rate * (1 + spread * n), 1.0, 10.0) for n in (-2, -1, 0, 1, 2)]
    return found


@pytest.mark.parametrize(
    ("made", "limit", "words"),
    [
        (ran(), "client", "this process is the limit"),
        (ran(cpu=0.4, server=0.99), "server", "the server is the limit"),
        (ran(cpu=0.1, server=0.1), "round trip", "the round trip is the limit"),
        (ran(cpu=0.2), "round trip", "-P 10"),
    ],
)
def test_who_is_the_limit(made: Progress, limit: str, words: str) -> None:
    assert judge(made.lanes[2], made.plan).limit == limit
    assert any(words in sentence for sentence in sentences(made.lanes, made.plan))


def test_a_rate_is_reached_or_not() -> None:
    reached = planned(plan(rate=1_000.0), "a")
    missed = planned(plan(rate=9_000.0), "a")
    for found in (reached, missed):
        found.lanes = ran(cpu=0.2).lanes
    assert judge(reached.lanes[2], reached.plan).limit == "rate"
    assert "was not reached (1,000 at most)" in sentences(missed.lanes, missed.plan)[0]


def printed(progress: Progress, width: int) -> str:
    out = io.StringIO()
    print_summary(Console(file=out, width=width, force_terminal=True, no_color=True), progress)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("width", [12, 80, 120])
def test_the_summary_fits(width: int) -> None:
    made = ran(rate=1_234_567.0)
    made.lanes[0].total.errors["ConnectionLost"] = 3
    made.notes.append("A note.")
    made.complete = False
    text = printed(made, width)
    assert width < 80 or max(map(len, text.splitlines())) <= width
    for words in ("1,234,567", "3 ConnectionLost", "A note.", "broken off", "this process is the limit"):
        assert width < 80 or words in text


def test_figures_are_json_and_come_back(tmp_path: Path) -> None:
    found = figures(ran())
    path = tmp_path / "run.json"
    path.write_text(to_json(found))
    assert load(path) == json.loads(to_json(found))
    way = found["commands"][0]["ways"][0]
    assert way["latency_ms"]["p50"] == pytest.approx(1.0, rel=0.0101)
    assert way["latency_ms"]["max"] == 10.0
    assert sum(count for _, count in way["histogram_ms"]) == 1_000


NO_RUNS = [
    *(
        "",
        "[]",
        "{}",
        '{"schema": 99, "commands": []}',
        '{"commands": 1, "schema": 1}',
        '{"commands": [], "schema": 1}',
    ),
    *(f'{{"commands": [{{"command": ["GET"], "ways": {ways}}}], "schema": 1, "plan": {{}}}}' for ways in ("1", "[{}]")),
    '{"commands": [{"command": ["GET"], "ways": [{"way": "shared", "rounds": []}]}], "schema": 1, "plan": {}}',
]


@pytest.mark.parametrize("text", NO_RUNS)
def test_a_file_that_is_no_saved_run(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(Fault, match="--against"):
        load(path)
    with pytest.raises(Fault, match="--against"):
        load(tmp_path / "missing.json")


def of(differences: list[Difference], figure: str) -> set[str]:
    return {each.verdict for each in differences if each.figure == figure}


def test_a_difference_counts_beyond_the_rounds_of_both() -> None:
    then, same, faster = figures(ran()), figures(ran(rate=1_010)), figures(ran(rate=1_500))
    assert of(compare(then, same), "ops/s") == {"no difference beyond the noise"}
    assert of(compare(then, faster), "ops/s") == {"better"}
    assert of(compare(faster, then), "ops/s") == {"worse"}
    assert of(compare(then, faster), "p99 ms") == {"no difference beyond the noise"}
    noisy = figures(ran(rate=1_500, spread=0.3))
    assert of(compare(then, noisy), "ops/s") == {"no difference beyond the noise"}
    for way in faster["commands"][0]["ways"]:
        del way["rounds"][2:]
    assert of(compare(then, faster), "ops/s") == {"too few rounds"}
    out = io.StringIO()
    print_comparison(Console(file=out, width=80), compare(then, same), remarks(then, same), "run.json")
    assert "No difference beyond the noise" in out.getvalue()


def test_other_work_is_not_compared() -> None:
    then = figures(ran())
    for other in (ran(tasks=5), ran(pipeline=2), ran(size=9), ran(keys=1), ran(loop="uvloop")):
        with pytest.raises(Fault, match="not the same work"):
            check(then, figures(other))
    pings = figures(ran())
    pings["commands"][0]["command"] = ["PING"]
    with pytest.raises(Fault, match="none of these commands"):
        check(then, pings)
    newer = {**then, "python": "9.9"}
    assert remarks(then, newer) == [f"Python: {then['python']} then, 9.9 now"]
