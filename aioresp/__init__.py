"""An asyncio-native client for Redis and Valkey."""

from typing import TYPE_CHECKING

from aioresp.client import Client, Stats
from aioresp.command import Key, Result, Value
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
    NotificationsDisabled,
    OutOfMemoryError,
    PersistenceError,
    PoolTimeout,
    ProtocolError,
    ReadOnlyError,
    RedisError,
    ReplyTooLarge,
    ResponseError,
    SubscriptionClosed,
    SubscriptionOverflow,
    TLSError,
    TryAgainError,
    UnblockedError,
    UnexpectedReply,
    UnknownCommandError,
    WatchError,
    WrongTypeError,
)
from aioresp.resource import PoolStats
from aioresp.retry import Retry
from aioresp.version import VERSION as __version__

if TYPE_CHECKING:
    from aioresp.contexts.delivery import Delivery
    from aioresp.contexts.group_reader import GroupReader
    from aioresp.contexts.keyspace import KeyEvent
    from aioresp.contexts.lease import Lease
    from aioresp.contexts.monitor import Monitor, MonitoredCommand
    from aioresp.contexts.pipeline import Pipeline
    from aioresp.contexts.stream_reader import StreamEntry, StreamReader
    from aioresp.contexts.subscription import Subscription
    from aioresp.contexts.topics import Gap, Message
    from aioresp.popped import Lost
else:
    _LATER = {  # imported when they are asked for, as many programs have no use for them
        "aioresp.contexts.delivery": ("Delivery",),
        "aioresp.contexts.group_reader": ("GroupReader",),
        "aioresp.contexts.keyspace": ("KeyEvent",),
        "aioresp.contexts.lease": ("Lease",),
        "aioresp.contexts.monitor": ("Monitor", "MonitoredCommand"),
        "aioresp.contexts.pipeline": ("Pipeline",),
        "aioresp.contexts.stream_reader": ("StreamEntry", "StreamReader"),
        "aioresp.contexts.subscription": ("Subscription",),
        "aioresp.contexts.topics": ("Gap", "Message"),
        "aioresp.popped": ("Lost",),
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
    "Gap",
    "GroupReader",
    "Key",
    "KeyEvent",
    "Lease",
    "LoadingError",
    "Lost",
    "MasterDownError",
    "MaxClientsError",
    "Message",
    "Monitor",
    "MonitoredCommand",
    "MovedError",
    "NoGroupError",
    "NoPermissionError",
    "NoReplicasError",
    "NoScriptError",
    "NotificationsDisabled",
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
    "Subscription",
    "SubscriptionClosed",
    "SubscriptionOverflow",
    "TLSError",
    "TryAgainError",
    "UnblockedError",
    "UnexpectedReply",
    "UnknownCommandError",
    "Value",
    "WatchError",
    "WrongTypeError",
    "__version__",
]
