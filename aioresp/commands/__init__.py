"""Typed command methods, one mixin for each command group."""

from __future__ import annotations

from aioresp.command import AnyStr
from aioresp.commands.acl import AclCommands
from aioresp.commands.arrays import ArrayCommands
from aioresp.commands.bitmaps import BitmapCommands
from aioresp.commands.clients import ClientCommands
from aioresp.commands.cluster import ClusterCommands
from aioresp.commands.conditional_strings import ConditionalStringCommands
from aioresp.commands.connection import ConnectionCommands
from aioresp.commands.diagnostics import DiagnosticCommands
from aioresp.commands.geo import GeoCommands
from aioresp.commands.geo_radius import GeoRadiusCommands
from aioresp.commands.hash_expiry import HashExpiryCommands
from aioresp.commands.hashes import HashCommands
from aioresp.commands.hyperloglog import HyperLogLogCommands
from aioresp.commands.introspection import IntrospectionCommands
from aioresp.commands.keys import KeyCommands
from aioresp.commands.lists import ListCommands
from aioresp.commands.marks import mark_methods
from aioresp.commands.persistence import PersistenceCommands
from aioresp.commands.pubsub import PubSubCommands
from aioresp.commands.replication import ReplicationCommands
from aioresp.commands.scripting import ScriptingCommands
from aioresp.commands.server import ServerCommands
from aioresp.commands.sets import SetCommands
from aioresp.commands.sorted_set_ranges import SortedSetRangeCommands
from aioresp.commands.sorted_sets import SortedSetCommands
from aioresp.commands.sorting import SortingCommands
from aioresp.commands.stream_groups import StreamGroupCommands
from aioresp.commands.streams import StreamCommands
from aioresp.commands.strings import StringCommands
from aioresp.commands.transfer import TransferCommands
from aioresp.commands.vectors import VectorCommands

__all__ = ["Commands"]


class Commands(
    StringCommands[AnyStr],
    ConditionalStringCommands[AnyStr],
    KeyCommands[AnyStr],
    TransferCommands[AnyStr],
    SortingCommands[AnyStr],
    HashCommands[AnyStr],
    HashExpiryCommands[AnyStr],
    ListCommands[AnyStr],
    SetCommands[AnyStr],
    SortedSetCommands[AnyStr],
    SortedSetRangeCommands[AnyStr],
    BitmapCommands[AnyStr],
    HyperLogLogCommands[AnyStr],
    StreamCommands[AnyStr],
    StreamGroupCommands[AnyStr],
    GeoCommands[AnyStr],
    GeoRadiusCommands[AnyStr],
    VectorCommands[AnyStr],
    ArrayCommands[AnyStr],
    ScriptingCommands[AnyStr],
    PubSubCommands[AnyStr],
    ConnectionCommands[AnyStr],
    ClientCommands[AnyStr],
    AclCommands[AnyStr],
    ServerCommands[AnyStr],
    ClusterCommands[AnyStr],
    PersistenceCommands[AnyStr],
    ReplicationCommands[AnyStr],
    IntrospectionCommands[AnyStr],
    DiagnosticCommands[AnyStr],
):
    """All commands, for any object with an `execute`."""


mark_methods(Commands)
