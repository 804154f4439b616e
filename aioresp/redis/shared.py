"""Clients that connections of redis-py share: one for each server, database and login.

Owns the table of these clients. A client is closed when the last connection that uses it is disconnected or
collected. Never connects.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Hashable
from typing import Any, Final

from aioresp.client import Client

#: Connections of one loop to one server, at most: each blocking command and each transaction under WATCH needs one.
LIMIT: Final = 10_000


class Shared:
    """A client, the connections of redis-py that use it, and the loops in which its server has answered."""

    def __init__(self, client: Client[bytes]) -> None:
        self.client = client
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        self.greeted: weakref.WeakSet[object] = weakref.WeakSet()


_all: Final[weakref.WeakValueDictionary[Hashable, Shared]] = weakref.WeakValueDictionary()
_lock: Final = threading.Lock()


def join(connection: Any) -> Shared:
    """Return what a connection of redis-py shares with others to the same server; it is a user from now on."""
    options = _options(connection)
    tls, provider = getattr(connection, "ssl_context", None), connection.credential_provider
    words = [repr(getattr(tls, name)) for name in getattr(tls, "__slots__", ()) if name != "context"]
    key = (*options.items(), *words, id(provider))  # the client keeps the provider, which may have no hash
    with _lock:
        found = _all.get(key)
        if found is None or found.client.node.closed:
            context = None if tls is None else tls.get()
            client = Client(decode_responses=False, ssl_context=context, credential_provider=provider, **options)
            found = _all[key] = Shared(client)
        found.users.add(connection)
    return found


def leave(shared: Shared, connection: object, *, keep: bool) -> bool:
    """Drop a user. After the last one, begin to close the client, unless `keep` is set; return whether it was begun."""
    with _lock:
        shared.users.discard(connection)
        if keep or len(shared.users):
            return False
        shared.client.node.shut()
    return True


def _options(connection: Any) -> dict[str, Any]:
    """Return the options of the client for a connection of redis-py."""
    path, told = getattr(connection, "path", None), getattr(connection, "driver_info", None)
    library = getattr(told, "formatted_name", None) if told else getattr(connection, "lib_name", None)
    options: dict[str, Any] = {
        "db": int(connection.db or 0),
        "username": connection.username or None,
        "password": connection.password or ("" if connection.username else None),
        "client_name": connection.client_name or None,
        "lib_name": f"{library}(aioresp)" if library else None,
        "protocol": int(connection.protocol or 2),
        "limit": LIMIT,
    }
    if connection.socket_connect_timeout is not None:
        options["connect_timeout"] = connection.socket_connect_timeout
    if path is not None:
        return {**options, "unix_socket_path": os.path.abspath(path)}
    return {**options, "host": connection.host, "port": connection.port}
