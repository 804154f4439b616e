"""Mermaid for the pages with diagrams, out of this folder: a reader's browser fetches nothing from elsewhere.

A hook of MkDocs; see mkdocs.yml. Material loads Mermaid from a CDN, unless a page has it already. So each page with a
diagram, and no other, gets a script element for the copy in docs/assets. That copy is the file dist/mermaid.tiny.js of
the npm package @mermaid-js/tiny 11.17.2, unchanged: all of Mermaid that sequence diagrams and flowcharts need.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

COPY: Final = "assets/mermaid.tiny.js"

#: An element for which a browser fetches something from another host at once.
_ELSEWHERE: Final = re.compile(
    r"""<(?:script|img|iframe|source|link(?! rel="canonical"))\s[^>]*(?:src|href)="?https?:[^>]*>"""
)


def on_page_content(html: str, page: Any, config: Any, **_: Any) -> str:
    """Return a page with a script element for Mermaid, if it has a diagram."""
    if 'class="mermaid"' not in html:
        return html
    if not Path(config.docs_dir, COPY).exists():
        raise RuntimeError(f"docs/{COPY} is missing")
    up = "../" * page.url.count("/")
    return f'{html}\n<script src="{up}{COPY}"></script>'  # before Material's own script, at the end of the page


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Fail if a page fetches anything from elsewhere."""
    if found := _ELSEWHERE.search(output):
        raise RuntimeError(f"{page.file.src_uri} fetches from elsewhere: {found[0]}")
    return output
