"""An asyncio-native client for Redis and Valkey."""

from typing import TYPE_CHECKING

from aioresp.client import Client, Stats
from aioresp.command import Key, Result, Value
from aioresp.contexts.lease import Lease
from aioresp.contexts.pipeline import Pipeline
from aioresp.contexts.scripts import Function, Script
from aioresp.credentials import CredentialProvider, Credentials
from aioresp.errors import (
    AskError,
    AuthenticationError,
    BusyError,
    BusyGroupError,
    ClientClosed,
    ClusterDownError,
    ClusterError,
    CommandRefused,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    CrossSlotError,
    DecodeError,
    ExecAbortError,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    MovedError,
    NoGroupError,
    NoPermissionError,
    NoReplicasError,
    NoScriptError,
    OutOfMemoryError,
    PersistenceError,
    PoolTimeout,
    ProtocolError,
    ReadOnlyError,
    RedisError,
    ReplyTooLarge,
    ResponseError,
    TLSError,
    TryAgainError,
    UnblockedError,
    UnknownCommandError,
    WatchError,
    WrongTypeError,
)
from aioresp.popped import Lost
from aioresp.resource import PoolStats
from aioresp.retry import Retry
from aioresp.version import VERSION as __version__

if TYPE_CHECKING:
    from aioresp.contexts.delivery import Delivery
    from aioresp.contexts.group_reader import GroupReader
    from aioresp.contexts.stream_reader import StreamEntry, StreamReader
else:
    _LATER = {  # imported when they are asked for, as many programs have no use for them
        "aioresp.contexts.delivery": ("Delivery",),
        "aioresp.contexts.group_reader": ("GroupReader",),
        "aioresp.contexts.stream_reader": ("StreamEntry", "StreamReader"),
    }

    def __getattr__(name):
        for module, names in _LATER.items():
            if name in names:
                return getattr(__import__(module, fromlist=names), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AskError",
    "AuthenticationError",
    "BusyError",
    "BusyGroupError",
    "Client",
    "ClientClosed",
    "ClusterDownError",
    "ClusterError",
    "CommandRefused",
    "CommandTimeout",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "CredentialProvider",
    "Credentials",
    "CrossSlotError",
    "DecodeError",
    "Delivery",
    "ExecAbortError",
    "Function",
    "GroupReader",
    "Key",
    "Lease",
    "LoadingError",
    "Lost",
    "MasterDownError",
    "MaxClientsError",
    "MovedError",
    "NoGroupError",
    "NoPermissionError",
    "NoReplicasError",
    "NoScriptError",
    "OutOfMemoryError",
    "PersistenceError",
    "Pipeline",
    "PoolStats",
    "PoolTimeout",
    "ProtocolError",
    "ReadOnlyError",
    "RedisError",
    "ReplyTooLarge",
    "ResponseError",
    "Result",
    "Retry",
    "Script",
    "Stats",
    "StreamEntry",
    "StreamReader",
    "TLSError",
    "TryAgainError",
    "UnblockedError",
    "UnknownCommandError",
    "Value",
    "WatchError",
    "WrongTypeError",
    "__version__",
]
