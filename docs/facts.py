"""Puts under each method's heading in the reference what the catalogue says of its command: name, versions, complexity.

A hook of MkDocs; see mkdocs.yml.
"""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

CATALOGUE: Final = Path(__file__).parent.parent / "tests" / "data" / "catalogue.json"

#: The commands of those methods that are not named after what they send.
OTHER_NAMES: Final = {
    "acl_log_reset": "ACL LOG",
    "client_kill_filter": "CLIENT KILL",
    "cluster_migration_cancel": "CLUSTER MIGRATION",
    "cluster_migration_import": "CLUSTER MIGRATION",
    "cluster_migration_status": "CLUSTER MIGRATION",
    "decr": "DECRBY",
    "delete": "DEL",
    "incr": "INCRBY",
    "xpending_range": "XPENDING",
}

#: The heading that mkdocstrings gives to a method of a command group: its id is the method's full name.
_HEADING: Final = re.compile(r'<h(\d) id="aioresp\.commands\.\w+\.\w+\.(\w+)".*?</h\1>', re.DOTALL)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Return a page of the reference with the facts under its methods' headings."""
    html, found = _HEADING.subn(_with_facts, html)
    if page.file.src_uri == "reference/strings.md" and found < 10:
        raise RuntimeError("docs/facts.py does not find the headings of the methods: do they look different now?")
    return html


def command_of(method: str) -> str | None:
    """Return the command that a method sends: that of OTHER_NAMES, or else of the method's own name."""
    return OTHER_NAMES.get(method) or _by_method().get(method.removesuffix("_iter"))


def in_words(name: str) -> str:
    """Return the facts of a command in a line of text."""
    facts = _catalogue()[name]
    redis, valkey = (facts["since"].get(kind) for kind in ("redis", "valkey"))
    if redis is None:
        since = f"Since Valkey {valkey}; not in Redis."
    elif valkey is None:
        since = f"Since Redis {redis}; not in Valkey."
    elif valkey == "7.2":  # the first one, which had all that Redis had
        since = f"Since Redis {redis}."
    else:
        since = f"Since Redis {redis} and Valkey {valkey}."
    complexity = facts.get("complexity")
    return f"{name}. {since} {complexity}." if complexity else f"{name}. {since}"


def _with_facts(heading: re.Match[str]) -> str:
    name = command_of(heading[2])
    if name is None:
        return heading[0]
    return f"{heading[0]}\n<p><em>{escape(in_words(name))}</em></p>"


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return facts


@cache
def _by_method() -> dict[str, str]:
    return {name.lower().replace(" ", "_").replace("-", "_"): name for name in _catalogue()}
