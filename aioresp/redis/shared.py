"""Clients that connections of redis-py share: one for each server, database and login.

Owns the table of these clients. A client is closed when the last connection that uses it is disconnected, and with the
last of them that is collected. Never connects.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

from aioresp.client import Client

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

#: Connections of one loop to one server, at most: each blocking command and each transaction under WATCH needs one.
LIMIT: Final = 10_000


class Shared:
    """A client, and the connections of redis-py that use it."""

    def __init__(self, key: Hashable, client: Client[bytes]) -> None:
        self.key = key
        self.client = client
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        #: Loops in which the server has answered.
        self.greeted: weakref.WeakSet[object] = weakref.WeakSet()


_all: Final[weakref.WeakValueDictionary[Hashable, Shared]] = weakref.WeakValueDictionary()
_lock: Final = threading.Lock()


def join(connection: AbstractConnection) -> Shared:
    """Return what a connection of redis-py shares with others to the same server; it is a user from now on."""
    options, provider = _options(connection), connection.credential_provider
    tls = getattr(connection, "ssl_context", None)
    if tls is not None:
        words = [name for name in tls.__slots__ if name != "context"]
        options["ssl_context"] = tuple((name, repr(getattr(tls, name))) for name in words)
    key = (*options.items(), ("credential_provider", id(provider)))  # it may have no hash, and the client keeps it
    options["credential_provider"] = provider
    with _lock:
        found = _all.get(key)
        if found is None:
            if tls is not None:
                options["ssl_context"] = tls.get()
            found = _all[key] = Shared(key, Client(decode_responses=False, **options))
        found.users.add(connection)
    return found


def leave(shared: Shared, connection: object, keep: bool) -> bool:
    """Drop a user; return whether it was the last one, so that the client has to be closed, unless it is to `keep`."""
    with _lock:
        shared.users.discard(connection)
        if keep or len(shared.users):
            return False
        if _all.get(shared.key) is shared:
            del _all[shared.key]
    return True


def _options(connection: Any) -> dict[str, Any]:
    """Return the options of the client for a connection of redis-py."""
    where = (
        {"unix_socket_path": os.path.abspath(connection.path)}
        if hasattr(connection, "path")
        else {"host": connection.host, "port": connection.port}
    )
    told = getattr(connection, "driver_info", None)
    options: dict[str, Any] = {
        **where,
        "db": int(connection.db or 0),
        "username": connection.username or None,
        "password": connection.password or ("" if connection.username else None),
        "client_name": connection.client_name or None,
        "lib_name": getattr(told, "formatted_name", None) if told else getattr(connection, "lib_name", None),
        "protocol": int(connection.protocol or 2),
        "limit": LIMIT,
    }
    if connection.socket_connect_timeout is not None:
        options["connect_timeout"] = connection.socket_connect_timeout
    return options
