"""Pictures of the demo for README and these pages, from one run: `python -m docs.race`.

Writes docs/assets/race.json, which has the figures of the run and the times at which the lanes told their progress.
Draws from it race.svg, the race as an animation, and ways.svg and ways-dark.svg, the chart of `--plot`. With the
argument `draw` it runs nothing.

The animation is CSS in an SVG, without a script, because GitHub shows the pictures of a README in that way. Its colours
follow the reader's preference, and a reader who prefers reduced motion sees the end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

from rich.console import Console

from aioresp.cli.demo import run as demonstration
from aioresp.cli.demo.figures import (
    Figures,
    KeyFigures,
    RaceFigures,
    RoundFigures,
    ServerFacts,
    ThreadFigures,
    WayFigures,
)
from aioresp.cli.demo.plot import draw
from aioresp.cli.demo.progress import BASE, HERO
from aioresp.cli.demo.race import Starter
from aioresp.cli.demo.screen import Screen
from aioresp.cli.demo.words import place, sentence
from aioresp.cli.interrupt import run
from aioresp.cli.plot import DARK, LIGHT

ASSETS: Final = Path(__file__).parent / "assets"

#: Part of its time for which the slow way has a core, on a machine without other work.
QUIET: Final = 0.75

#: Seconds that the end stays, before the race begins again.
HOLD: Final = 6.0

#: Seconds between two numbers of a clock, and between two of the connections.
TICK: Final = 0.2
COUNT: Final = 0.4

#: Part of a bar by which the animation may differ from what was recorded.
TOLERANCE: Final = 0.004

# The layout, in pixels.
WIDTH: Final = 830
TOP: Final = 112
ROW: Final = 37
PLACE: Final = 26
NAME: Final = 64
BAR: Final = 292
LENGTH: Final = 304
MADE: Final = 704
SECONDS: Final = 804

#: The number of lanes, in words: without redis-py there is one less.
COUNTED: Final = {5: "five", 6: "six"}

#: Classes of the two lanes that the sentence names.
CLASSES: Final = {HERO: "h", BASE: "o"}

STYLE: Final = """
svg{--card:#fff;--edge:#d1d9e0;--ink:#1f2328;--soft:#59636e;--track:#eaeef2;--bar:#8c98a4;--hero:#008a64;--base:#d55e00}
@media(prefers-color-scheme:dark){svg{--card:#0d1117;--edge:#3d444d;--ink:#f0f6fc;--soft:#9198a1;--track:#21262d;
--bar:#768390;--hero:#1fbf8f;--base:#f0762b}}
text{font:15px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;fill:var(--ink);
font-variant-numeric:tabular-nums}
.c{fill:var(--card);stroke:var(--edge)}.k{fill:var(--track)}.f{fill:var(--bar)}.h{fill:var(--hero)}.o{fill:var(--base)}
.t{font-size:20px;font-weight:700}.s{font-size:13px;fill:var(--soft)}.b{font-weight:700}.r{text-anchor:end}
rect.f,rect.h,rect.o{transform-box:fill-box;transform-origin:left}
@media(prefers-reduced-motion:reduce){*{animation:none!important}}
"""


class Run(NamedTuple):
    """Recorded run."""

    figures: Figures
    samples: dict[int, list[tuple[float, int, int]]]
    """Seconds, SETs done and connections made, by the number of a lane."""


def record() -> None:
    """Run the demo, and write what was found, unless the machine was too busy for figures that others should see."""
    with Starter(None) as starter:
        work = demonstration.run(None, starter, 10_000, Screen(Console()), print)
        figures, progress = run(work)
    base = figures.ways[BASE - 1]
    if base.cpu_seconds < QUIET * base.seconds:
        sys.exit(
            f"nothing is written: the slow way had a core for {base.cpu_seconds:.0f} of its {base.seconds:.0f} s, "
            "so the machine has other work. Record on a quiet one."
        )
    found = json.loads(figures.to_json())
    # One string for a lane: as arrays they would fill pages.
    found["samples"] = {
        str(lane.number): " ".join(f"{at:.3f}:{done}:{made}" for at, done, made in lane.samples)
        for lane in progress.lanes
    }
    (ASSETS / "race.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def recorded() -> Run:
    """Return what race.json has."""
    found: dict[str, Any] = json.loads((ASSETS / "race.json").read_text(encoding="utf-8"))
    samples = {int(number): _samples(text) for number, text in found.pop("samples").items()}
    threads = found.pop("threads")
    threads["rounds"] = tuple(RoundFigures(**each) for each in threads["rounds"])
    threads["lane"] = WayFigures(**threads["lane"])
    for name in ("ways", "peers"):
        found[name] = tuple(WayFigures(**each) for each in found[name])
    for name, kind in (("server", ServerFacts), ("race", RaceFigures), ("keys", KeyFigures)):
        found[name] = kind(**found[name])
    return Run(Figures(threads=ThreadFigures(**threads), **found), samples)


def _samples(text: str) -> list[tuple[float, int, int]]:
    parts = (each.split(":") for each in text.split())
    return [(float(at), int(done), int(made)) for at, done, made in parts]


def animation(found: Run) -> str:
    """Return the race as an SVG that moves, in the time that it took."""
    figures = found.figures
    lanes = figures.lanes
    longest = max(lane.seconds for lane in lanes)
    whole = longest + HOLD
    height = TOP + ROW * len(lanes) + 78
    rules: list[str] = []
    shapes: list[str] = []
    for row, lane in enumerate(lanes):
        y = TOP + row * ROW
        kind = CLASSES.get(lane.number, "f")
        bold = " b" if lane.number in CLASSES else ""
        samples = found.samples[lane.number]
        number = lane.number
        rules += _moves(f"m{number}", [(at / whole, done / figures_total(lane)) for at, done, _ in samples])
        shapes += [
            f'<text x="{NAME}" y="{y + 17}" class="{kind if bold else ""}{bold}">{escape(lane.name)}</text>',
            f'<rect x="{BAR}" y="{y + 3}" width="{LENGTH}" height="19" rx="3" class="k"/>',
            f'<rect x="{BAR}" y="{y + 3}" width="{LENGTH}" height="19" rx="3" class="{kind} m{number}"/>',
        ]
        steps = max(1, round(lane.seconds / TICK))
        clock = [f"{lane.seconds * step / steps:.1f}" for step in range(steps)] + [f"{lane.seconds:.2f}"]
        steps = max(1, round(lane.seconds / COUNT))
        made = [f"{_made_at(samples, lane.seconds * step / steps):,}" for step in range(steps)]
        for x, column, numbers in ((MADE, "n", [*made, f"{lane.connections:,}"]), (SECONDS, "s", clock)):
            name = f"{column}{number}"
            shapes += _strip(x, y, name, numbers, bold)
            rules += _ticks(name, numbers, lane.seconds / whole)
        shapes.append(f'<text x="{PLACE}" y="{y + 17}" class="{kind} b p{number}">{place(lane.place)}</text>')
        rules += _appears(f"p{number}", lane.seconds / whole)
    rules += _appears("e", longest / whole)
    timing = f"*{{animation-duration:{whole:.2f}s;animation-iteration-count:infinite;animation-timing-function:linear}}"
    redis_py = f", redis-py {figures.redis_py}" if figures.redis_py else ""
    server = f"{figures.server.flavour} {figures.server.version}"
    facts = f"aioresp {figures.aioresp}{redis_py}, Python {figures.python}, {server}"
    said = escape(sentence(figures))
    ways = f"{COUNTED[len(lanes)]} ways"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" aria-labelledby="a">',
            f'<title id="a">{figures.count:,} SETs in {ways}, side by side: {said}</title>',
            f"<style>{timing}{STYLE}{''.join(rules)}</style>",
            f'<clipPath id="z"><rect x="{BAR + LENGTH}" y="0" width="{WIDTH}" height="28"/></clipPath>',
            f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10" class="c"/>',
            f'<text x="{PLACE}" y="42" class="t">{figures.count:,} SETs from as many tasks, in {ways}</text>',
            f'<text x="{PLACE}" y="66" class="s">Each ran alone. They are shown side by side, in the time that they '
            "took.</text>",
            f'<text x="{MADE}" y="{TOP - 12}" class="s r">connections</text>',
            f'<text x="{SECONDS}" y="{TOP - 12}" class="s r">seconds</text>',
            *shapes,
            f'<text x="{PLACE}" y="{height - 46}" class="t e">{said}</text>',
            f'<text x="{SECONDS}" y="{height - 20}" class="s r">{facts}</text>',
            "</svg>\n",
        ]
    )


def figures_total(lane: WayFigures) -> int:
    """Return how many SETs a lane sent."""
    return round(lane.ops_per_second * lane.seconds)


def _made_at(samples: Sequence[tuple[float, int, int]], moment: float) -> int:
    """Return the connections that a lane had made at a moment, between two samples in proportion."""
    for before, after in pairwise(samples):
        if moment <= after[0]:
            part = (moment - before[0]) / (after[0] - before[0])
            return round(before[2] + (after[2] - before[2]) * part)
    return samples[-1][2]


def _moves(name: str, points: Sequence[tuple[float, float]]) -> list[str]:
    """Return the rules of a bar that grows through points: parts of the whole time, and of the whole bar."""
    kept = _simple(points)
    stops = "".join(f"{at:.2%}{{transform:scaleX({part:.3f})}}" for at, part in kept[:-1])
    last = f"{kept[-1][0]:.2%},100%{{transform:none}}"
    return [f".{name}{{animation-name:{name}}}", f"@keyframes {name}{{{stops}{last}}}\n"]


def _simple(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points without those that lie on the line of their neighbours (Ramer, Douglas and Peucker)."""
    if len(points) < 3:
        return list(points)
    (begin, low), (end, high) = points[0], points[-1]
    off = [abs(low + (high - low) * (at - begin) / (end - begin) - part) for at, part in points]
    widest = max(range(len(off)), key=off.__getitem__)
    if off[widest] <= TOLERANCE:
        return [points[0], points[-1]]
    return _simple(points[: widest + 1])[:-1] + _simple(points[widest:])


def _strip(x: int, y: int, name: str, numbers: Sequence[str], bold: str) -> list[str]:
    """Return numbers below each other, of which a window shows one: the last, unless they move."""
    texts = "".join(
        f'<text x="{x}" y="{17 + 28 * (step - len(numbers) + 1)}" class="r{bold}">{each}</text>'
        for step, each in enumerate(numbers)
    )
    return [f'<g transform="translate(0 {y})" clip-path="url(#z)"><g class="{name}">{texts}</g></g>']


def _ticks(name: str, numbers: Sequence[str], end: float) -> list[str]:
    """Return the rules of a strip that goes from number to number until `end`, a part of the whole time."""
    steps = len(numbers) - 1
    first = f"0%{{transform:translateY({28 * steps}px);animation-timing-function:steps({steps},end)}}"
    return [
        f".{name}{{animation-name:{name}}}",
        f"@keyframes {name}{{{first}{end:.2%},100%{{transform:none}}}}\n",
    ]


def _appears(name: str, at: float) -> list[str]:
    """Return the rules of what appears at a part of the whole time."""
    shown = at + 0.002
    return [
        f".{name}{{animation-name:{name}}}",
        f"@keyframes {name}{{0%,{at:.2%}{{opacity:0}}{shown:.2%},100%{{opacity:1}}}}\n",
    ]


def main() -> None:
    """Record a run, unless told to draw only, and draw what was recorded."""
    if sys.argv[1:] != ["draw"]:
        record()
    found = recorded()
    (ASSETS / "race.svg").write_text(animation(found), encoding="utf-8")
    draw(ASSETS / "ways.svg", found.figures, LIGHT)
    draw(ASSETS / "ways-dark.svg", found.figures, DARK)


if __name__ == "__main__":
    main()
