"""Completeness check of the reference: fails the build if a public name is missing, or an internal one is shown.

A hook of MkDocs; see mkdocs.yml.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent

#: Names of the package that the reference explains in its text: type aliases, and the version.
EXPLAINED: Final = {"CredentialProvider", "JobHook", "Key", "Result", "Value", "__version__"}

#: Methods without an underscore that the package calls on its own public classes.
INTERNAL: Final = {
    *("put", "put_all", "put_error", "lose", "regain", "deprive", "end", "carry", "note", "block", "watching"),
    *("has_used", "use", "prepare", "queueing", "tell", "copy_error", "copy_with_outcome", "response_error"),
    *("over", "borrow", "give_back", "mark_changed"),
}

#: An identifier that mkdocstrings gave to a heading, and a directive of a page with the members it asks for.
_ANCHOR: Final = re.compile(r'id="(aioresp\.[\w.]+)"')
_DIRECTIVE: Final = re.compile(
    r"^::: (aioresp[\w.]*)\n(?:    .*members: \[([^]]*)\]|(?:    .*\n)+?.*members: \[([^]]*)\])?", re.M
)

#: A line that is longer than a page is wide: a signature that no formatter has broken, cut off in the browser.
_CUT_OFF: Final = re.compile(r"^\w+\(.{130,}", re.MULTILINE)

_anchors: set[str] = set()


def on_pre_build(**_: Any) -> None:
    """Forget the previous build, which there is under `mkdocs serve`."""
    _anchors.clear()


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Note the names on a page of the reference."""
    if page.file.src_uri.startswith("reference/"):
        _anchors.update(_ANCHOR.findall(html))
        if cut := _CUT_OFF.search(unescape(re.sub(r"<[^>]+>", "", html))):
            raise RuntimeError(f"mkdocstrings found no formatter; install the extra `docs`: {cut[0][:60]}...")
    return html


def on_post_build(config: Any, **_: Any) -> None:
    """Fail if the reference is not whole."""
    wrong = problems(_anchors, asked_for(Path(config.docs_dir, "reference")))
    wrong += [f"{path} is published" for path in Path(config.site_dir).rglob("__pycache__")]
    if wrong:
        raise RuntimeError("the reference is not whole: " + "; ".join(wrong))


def asked_for(folder: Path) -> set[str]:
    """Return the names that the pages of the reference ask for: each directive's own, and its explicit members."""
    names: set[str] = set()
    for page in folder.glob("*.md"):
        for path, short, long in _DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            names |= {f"{path}.{member.strip()}" for member in (short or long).split(",") if member.strip()}
    return names


def public() -> dict[str, set[str]]:
    """Return each public name with the identifiers under which the reference may show it."""
    sys.path.insert(0, str(ROOT))
    try:
        import aioresp  # noqa: PLC0415 (the hook is loaded before the path is set)
        from aioresp import recipes, testing  # noqa: PLC0415
    finally:
        sys.path.remove(str(ROOT))
    names = {
        name: {f"aioresp.{name}", f"{getattr(aioresp, name).__module__}.{name}"}
        for name in set(aioresp.__all__) - EXPLAINED
    }
    names |= {f"testing.{name}": {f"aioresp.testing.{name}"} for name in testing.__all__}
    names |= {f"recipes.{name}": {f"aioresp.recipes.{name}"} for name in set(recipes.__all__) - EXPLAINED}
    for name in filter(partial(hasattr, aioresp.Client), dir(aioresp.Client)):  # without the names of other clients
        if not name.startswith("_") and name not in INTERNAL:
            homes = [kind for kind in aioresp.Client.__mro__ if name in vars(kind)]
            names[f"Client.{name}"] = {f"{kind.__module__}.{kind.__qualname__}.{name}" for kind in homes}
            names[f"Client.{name}"].add(f"aioresp.Client.{name}")
    for kind in (aioresp.Cluster, aioresp.Sentinel):
        for name in filter(partial(hasattr, kind), vars(kind)):
            if not name.startswith("_") and not hasattr(aioresp.Client, name):
                places = {f"{kind.__module__}.{kind.__qualname__}.{name}", f"aioresp.{kind.__name__}.{name}"}
                names[f"{kind.__name__}.{name}"] = places
    return names


def problems(anchors: set[str], asked: Iterable[str]) -> list[str]:
    """Return the public names that no anchor shows, the members asked for that do not exist, and internal names."""
    missing = [f"{name} is missing" for name, places in sorted(public().items()) if not places & anchors]
    unknown = [f"{name} was asked for and does not exist" for name in sorted(set(asked) - anchors)]
    package = [name for name in sorted(anchors) if not name.startswith("aioresp.testing.")]  # its words are its own
    internal = [f"{name} is internal" for name in package if name.rpartition(".")[2] in INTERNAL]
    return missing + unknown + internal
