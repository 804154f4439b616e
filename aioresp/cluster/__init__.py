"""Cluster client: many nodes behind one client, with the methods of a client of one server.

Imported when `aioresp.Cluster` is asked for, because most programs use one server.
"""

from aioresp.cluster.client import Cluster as Cluster
from aioresp.cluster.topology import ClusterNode as ClusterNode
from aioresp.cluster.topology import Shard as Shard
from aioresp.cluster.topology import Topology as Topology
