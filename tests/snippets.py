"""The Python in README.md and docs/: each block between ```python and ```, and where it stands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Snippet(NamedTuple):
    page: str
    line: int
    text: str

    @property
    def as_program(self) -> str:
        """The snippet in a coroutine function of its own, if it awaits outside of one."""
        try:
            compile(self.text, "", "exec")
        except SyntaxError:
            kind = "Cluster" if self.page == "docs/cluster.md" else "Client"
            return f"r: {kind}[str]\n\nasync def typed_in() -> None:\n" + textwrap.indent(self.text, "    ")
        return self.text


def _snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```python\b.*\n((?:.*\n)*?)\1```$", text, re.MULTILINE):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Snippet(str(page.relative_to(ROOT)), line, textwrap.dedent(found[2]))


SNIPPETS: Final = [snippet for page in PAGES for snippet in _snippets(page)]
