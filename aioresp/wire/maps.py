"""Maps of RESP3, made from lists of their keys and values.

Owns the mark of a list that stands for a map, and the form of a map that a Python dict cannot hold. Never touches the
stream, and never raises an error for what keys are.
"""

from __future__ import annotations

from os import urandom
from typing import Any, Final

#: Error line that no server can know.
SECRET: Final = f"MAP {urandom(8).hex()}"

#: First element of a list that stands for a map. It is never raised; hiredis wants exceptions for error lines.
MARK: Final = Exception("a map begins")

#: Header of a list that stands for a map, and its mark; the number counts the mark.
MARKED: Final = b"*%%d\r\n-%b\r\n" % SECRET.encode()


def as_map(parts: list[Any]) -> dict[Any, Any] | list[tuple[Any, Any]]:
    """Return keys and values in turn as a dict.

    It is a list of pairs if a key has no hash, or if keys are equal in Python: a dict would lose entries.
    """
    items = iter(parts)
    try:
        found = dict(zip(items, items, strict=True))
        if len(found) << 1 == len(parts):
            return found
    except TypeError:  # a key is a list or a dict
        pass
    items = iter(parts)
    return list(zip(items, items, strict=True))


def with_maps(reply: list[Any]) -> Any:
    """Return a reply with a map in place of each marked list.

    It goes by a list of its own, as hiredis takes more levels than Python can call functions.
    """
    holders = [reply]
    places: list[tuple[list[Any], int, list[Any]]] = []
    for holder in holders:  # it grows meanwhile
        if list in map(type, holder):
            for place, part in enumerate(holder):
                if type(part) is list and part:
                    holders.append(part)
                    if part[0] is MARK:
                        places.append((holder, place, part))
    for holder, place, part in reversed(places):  # what is within comes first
        del part[0]
        holder[place] = as_map(part)
    return as_map(reply[1:]) if reply[0] is MARK else reply
