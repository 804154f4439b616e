"""One-line error messages for a person at a terminal.

Owns the list of errors that a user can act on. Never hides any other error: that is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from aioresp.cli.demo.ways import AT_A_TIME
from aioresp.errors import RedisError
from aioresp.testing import ServerFailed, ServerNotFound

#: The errors that `one_line` explains.
EXPECTED = (RedisError, OSError, ServerFailed, ServerNotFound)


def one_line(error: BaseException, address: str | None = None) -> str | None:
    """Return what to tell the user, naming the server at `address`; None if the user could not understand it."""
    leaves = list(_leaves(error))
    if not leaves or not all(isinstance(leaf, EXPECTED) for leaf in leaves):
        return None
    leaf = leaves[0]  # of the others most follow from the first
    # Not str() of ours: it names the one command, of thousands, that happened to meet the error first.
    text = str(leaf.args[0] if isinstance(leaf, RedisError) and leaf.args else leaf) or type(leaf).__name__
    advice = _advice(text)
    if address is not None and isinstance(leaf, RedisError) and address.rpartition("//")[2] not in text:
        text = f"{address}: {text}"
    return text + advice


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _advice(text: str) -> str:
    """Return what to do about it, told by the text: a server's and a system's words arrive inside of ConnectError."""
    if "max number of clients" in text:
        return f"; the demo opens {AT_A_TIME} connections at a time: raise the server's maxclients"
    if os.strerror(errno.EADDRNOTAVAIL) in text:
        return "; this machine's ports are used up: wait a minute, or take a smaller --count"
    if os.strerror(errno.EMFILE) in text:
        return "; raise the limit of open files (ulimit -n)"
    if text.startswith("MOVED "):
        return "; the demo needs a server that is not a cluster"
    return ""
