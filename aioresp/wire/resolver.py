"""Name resolver: the addresses of a host, looked up in daemon threads.

Owns one look-up at a time for each host and port, shared by all callers of the process, in any event loop. Never
connects, and never keeps an answer, because addresses may change. A look-up may hang for minutes and cannot be ended.
In the default executor of a loop it would delay the application's own work, and the end of the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import deque
from typing import Final, TypeAlias

from aioresp.errors import copy_error

#: A host and a port.
Place: TypeAlias = tuple[str, int]

Answer: TypeAlias = "asyncio.Future[list[str]]"

#: The callers of each look-up under way. There is no lock, which could deadlock: the garbage collector may close an
#: abandoned `resolve` anywhere, even in the middle of another one.
_waiting: Final[dict[Place, deque[Answer]]] = {}


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, the preferred ones first; an address is returned as it is.

    Raises OSError or UnicodeError if the look-up fails. Its only time limit is the system's own.
    """
    if _is_address(host):
        return [host]
    place = host, port
    answer: Answer = asyncio.get_running_loop().create_future()
    while True:
        new: deque[Answer] = deque((answer,))
        waiting = _waiting.setdefault(place, new)
        if waiting is new:
            _start(place)
            break
        waiting.append(answer)
        if _waiting.get(place) is waiting or not _withdraw(answer, waiting):
            break
        # The look-up ended in this moment, in its own thread, and has not answered this caller: start another.
    try:
        return await answer
    finally:
        _withdraw(answer, waiting)  # the caller may have been cancelled


def _withdraw(answer: Answer, waiting: deque[Answer]) -> bool:
    try:
        waiting.remove(answer)
    except ValueError:
        return False  # the look-up has answered it, or is answering it now
    return True


def _start(place: Place) -> None:
    try:
        threading.Thread(target=_look_up, args=place, name=f"aioresp: look up {place[0]}", daemon=True).start()
    except BaseException as error:
        _answer(place, [], OSError(f"the look-up of {place[0]} could not be started: {error}"))
        if not isinstance(error, RuntimeError):  # RuntimeError: too many threads, or the interpreter ends
            raise


def _is_address(host: str) -> bool:
    for family, address in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            pass
        else:
            return True
    return False


def _look_up(host: str, port: int) -> None:
    """Look the host up, in a thread, and hand the answer to all callers that wait for it by then."""
    found: list[str] = []
    error: Exception | None = None
    try:
        for *_, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            found.append(str(where[0]))
        if not found:
            error = OSError(f"{host} has no address")
    except Exception as failure:
        error = failure
    _answer((host, port), found, error)
    error = None  # it holds this frame by its traceback


def _answer(place: Place, found: list[str], error: Exception | None) -> None:
    waiting = _waiting.pop(place)
    while waiting:
        answer = waiting.popleft()
        try:
            answer.get_loop().call_soon_threadsafe(_hand_over, answer, found, error)
        except RuntimeError:
            pass  # its loop was closed meanwhile


def _hand_over(answer: Answer, found: list[str], error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(list(dict.fromkeys(found)))
    else:
        answer.set_exception(copy_error(error))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.clear)  # the threads are the parent's
