"""The pictures of the demo in README and docs: of one run that was recorded, and small enough for a page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from aioresp.cli.demo.progress import NAMES_AND_COLOURS
from aioresp.cli.demo.words import place, short

ROOT = Path(__file__).parents[3]
ASSETS = ROOT / "docs" / "assets"
LANES = len(NAMES_AND_COLOURS)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ASSETS / "race.json").read_text(encoding="utf-8"))
    return found


def lanes(recorded: dict[str, Any]) -> list[dict[str, Any]]:
    found = [*recorded["ways"], recorded["threads"]["lane"], *recorded["peers"]]
    return sorted(found, key=lambda lane: int(lane["place"]))


def test_what_was_recorded_is_one_run(recorded: dict[str, Any]) -> None:
    found = lanes(recorded)
    assert [lane["place"] for lane in found] == list(range(1, LANES + 1))
    assert recorded["race"]["in_turn"] is True
    assert recorded["race"]["received"] == sum(lane["made"] for lane in found)
    for lane in found:
        told = [each.split(":") for each in recorded["samples"][str(lane["number"])].split()]
        assert [float(at) for at, _, _ in told] == sorted(float(at) for at, _, _ in told)
        at, done, made = told[-1]
        assert float(at) == pytest.approx(lane["seconds"], abs=0.001)
        assert int(done) == pytest.approx(lane["ops_per_second"] * lane["seconds"], rel=0.001)
        assert int(made) == lane["made"]


def test_the_race_ends_with_what_was_recorded(recorded: dict[str, Any]) -> None:
    """Without its animation, the picture shows the end."""
    text = (ASSETS / "race.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    rows: dict[str, list[str]] = {}
    row: list[str] = []
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag == "text" and element.text in [name for name, _ in NAMES_AND_COLOURS]:
            row = rows.setdefault(element.text, [])
        if tag == "g" and element.get("clip-path") and element[0].tag.endswith("}g"):
            (shown,) = [each.text or "" for each in element[0] if each.get("y") == "17"]
            row.append(shown)
        if tag == "text" and (element.get("class") or "").rpartition(" ")[2].startswith("p"):
            row.append(element.text or "")
    expected = {
        lane["name"]: [f"{lane['connections']:,}", f"{lane['seconds']:.2f}", place(lane["place"])]
        for lane in lanes(recorded)
    }
    assert rows == expected
    first, *_, fourth = recorded["ways"]
    assert f"{first['connections']:,} connections and {short(first['seconds'])} s became" in text
    assert f" {fourth['connections']} and {short(fourth['seconds'])} s." in text


@pytest.mark.parametrize("name", ["race.svg", "ways.svg", "ways-dark.svg"])
def test_a_picture_is_small_and_runs_nothing(name: str) -> None:
    content = (ASSETS / name).read_bytes()
    root = ElementTree.fromstring(content)
    assert len(content) < (60_000 if name == "race.svg" else 100_000)
    assert not [each.tag for each in root.iter() if each.tag.endswith(("script", "foreignObject", "image"))]
    assert b"http" not in content.replace(b"http://www.w3.org/", b"").replace(b"http://purl.org/", b"").replace(
        b"https://matplotlib.org/", b""
    ).replace(b"http://creativecommons.org/", b"")


def test_the_race_follows_what_the_reader_prefers() -> None:
    style = (ASSETS / "race.svg").read_text(encoding="utf-8")
    assert "@media(prefers-color-scheme:dark)" in style
    assert "@media(prefers-reduced-motion:reduce){*{animation:none!important}}" in style
    assert style.count("@keyframes") == 4 * LANES + 1  # bar, connections, seconds and place of each, and the sentence


@pytest.mark.ci
def test_the_pictures_are_those_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from aioresp.cli.demo.plot import draw  # noqa: PLC0415 (it imports matplotlib)
    from docs import race  # noqa: PLC0415 (likewise)

    assert race.animation(race.recorded()) == (ASSETS / "race.svg").read_text(encoding="utf-8")
    draw(tmp_path / "ways.svg", race.recorded().figures)
    assert (tmp_path / "ways.svg").read_bytes() == (ASSETS / "ways.svg").read_bytes()
