"""Hints for unknown names: the closest name that exists, and the words of other clients for what is here.

Owns the texts. Never decides whether a name exists, and is never asked before a look-up has failed.
"""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` is probably a misspelling of, or None."""
    from difflib import get_close_matches  # noqa: PLC0415 (slow to import, and needed for a mistake only)

    # Case and underscores are the likeliest mistakes, and count for nothing.
    plain = {other.lower().replace("_", ""): other for other in names}
    found = get_close_matches(name.lower().replace("_", "")[:100], plain, 1, 0.7)
    return plain[found[0]] if found else None


def meant(name: str, names: Iterable[str]) -> str:
    """Return ": did you mean `this`?", or nothing, to follow the message about an unknown name."""
    other = closest(name, names)
    return "" if other is None else f": did you mean `{other}`?"
