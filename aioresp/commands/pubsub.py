"""Pub/sub commands that publish messages and count subscribers. A subscription is a context, not a command."""

from __future__ import annotations

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor
from aioresp.replies import counts, integer, texts


class PubSubCommands(Executor[AnyStr]):
    """Commands on channels. Subscribers are counted on this server, not in a cluster."""

    def publish(self, channel: Key, message: Value) -> Result[int]:
        """Send `message` to the subscribers of `channel` and return how many this server has."""
        return self.execute(("PUBLISH", channel, message), integer)

    def pubsub_channels(self, pattern: Key = "*") -> Result[list[AnyStr]]:
        """Return the channels with subscribers that match the glob; pattern subscribers do not count."""
        return self.execute(("PUBSUB", "CHANNELS", pattern), texts)

    def pubsub_numpat(self) -> Result[int]:
        """Return how many patterns are subscribed to."""
        return self.execute(("PUBSUB", "NUMPAT"), integer)

    def pubsub_numsub(self, *args: Key) -> Result[dict[AnyStr, int]]:
        """Return how many subscribers each channel has, without pattern subscribers."""
        return self.execute(("PUBSUB", "NUMSUB", *args), counts)

    def pubsub_shardchannels(self, pattern: Key = "*") -> Result[list[AnyStr]]:
        """Return the shard channels with subscribers that match the glob. Since 7.0."""
        return self.execute(("PUBSUB", "SHARDCHANNELS", pattern), texts)

    def pubsub_shardnumsub(self, *args: Key) -> Result[dict[AnyStr, int]]:
        """Return how many subscribers each shard channel has. Since 7.0."""
        return self.execute(("PUBSUB", "SHARDNUMSUB", *args), counts)

    def spublish(self, shard_channel: Key, message: Value) -> Result[int]:
        """Send `message` to the subscribers of a shard channel and return how many this server has. Since 7.0."""
        return self.execute(("SPUBLISH", shard_channel, message), integer)
