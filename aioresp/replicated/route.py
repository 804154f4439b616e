"""Route of pipelines over a primary and its replicas.

Owns the decision which pipelines go to a replica: those in which each command only reads. Never splits a pipeline.
"""

from __future__ import annotations

from aioresp.contexts.large import Replies
from aioresp.contexts.routes import SharedRoute
from aioresp.facts.traits import traits
from aioresp.node import Node
from aioresp.options import Terms
from aioresp.reading import NEXT, may_be_read
from aioresp.wire.packing import Packed, unpack


class ReadingRoute(SharedRoute):
    """Route by which reads go where `read_from` says, and all else to the primary."""

    def __init__(self, node: Node, terms: Terms) -> None:
        super().__init__(node.pools.here, terms)
        self._node = node

    async def _carry(self, commands: list[Packed], decode: bool, whole: bool) -> Replies:
        if whole or not all(map(_is_read, commands)):
            return await super()._carry(commands, decode, whole)

        async def on(node: Node, terms: Terms) -> Replies:
            replies = await SharedRoute(node.pools.here, terms)._carry(commands, decode, whole)
            if node is not self._node and not replies.clean:
                for reply in replies.raw:
                    if isinstance(reply, NEXT):
                        raise reply
            return replies

        return await self._node.read(on, self._terms)


def _is_read(packed: Packed) -> bool:
    facts = traits(unpack(packed))  # which has the first words alone: it may not see that XREAD blocks
    return may_be_read(facts) and facts.name != "XREAD"
