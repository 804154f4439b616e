"""Pipeline over a cluster: each command notes its slot when it is queued.

Owns the slots of the queued commands, and the watch of keys at the node of their slot. Never touches a connection: the
route does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from aioresp.arguments import exact
from aioresp.cluster.packing import FORMS
from aioresp.cluster.policies import Reach, policy_of
from aioresp.cluster.routes import ClusterRoute
from aioresp.cluster.slots import ONE_KEY, common_slot, slot_of, slot_of_command, slots_of
from aioresp.cluster.split import Split, split_of
from aioresp.command import AnyStr, Arguments, Handle, Key
from aioresp.commands.marks import unmark_methods
from aioresp.contexts.pipeline import Pipeline, Queued
from aioresp.errors import CommandRefused, about
from aioresp.facts.traits import Traits, traits
from aioresp.wire.packing import pack

T = TypeVar("T")


def slot_in_batch(facts: Traits) -> int | None:
    """Return the slot of a command of a batch; None if any node serves it. Raises CommandRefused for other ones."""
    slot = slot_of_command(facts)
    if slot is None and facts.name != "PING":
        policy = policy_of(facts.arguments)
        if policy.reach is not Reach.ANY:
            why = policy.advice or "it concerns several nodes: call it on the client, outside of the pipeline"
            raise about(CommandRefused(f"a pipeline over a cluster does not send this command: {why}"), facts.name)
    return slot


class ClusterPipeline(Pipeline[AnyStr], Generic[AnyStr]):
    """Queue of commands that are sent in one write to each node; with `transaction`, in MULTI and EXEC at one node."""

    def __init__(self, route: ClusterRoute, decode: bool, transaction: bool = False) -> None:
        super().__init__(route, decode, transaction)
        self._routed = route
        self._keys: list[bytes | int | None] = []  # the key of each queued command, or its slot, or None
        self._splits: dict[int, Split] = {}  # commands over several slots, by their place in the queue
        self._watched: list[Key] = []

    def execute(self, arguments: Any = None, reply: Any = None, *, raise_on_error: bool = True) -> Any:
        """Queue a command, or send what is queued; see `Pipeline.execute`."""
        if reply is None:
            parent: Any = super()
            return parent.execute(arguments, reply, raise_on_error)
        name = arguments[0]
        if self._immediate or type(name) is not str or name not in ONE_KEY:
            return self._execute_special(arguments, reply)
        try:
            key = arguments[1]
        except IndexError:
            return self._execute_special(arguments, reply)
        if type(key) is str:
            try:
                key = key.encode()
            except UnicodeEncodeError:
                pass  # `pack` raises an error that does not have this one as its context, which shows the text
        handle: Queued[Any] = Queued()
        handle._reply = reply
        if len(arguments) == 2 and type(key) is bytes:  # packed by hand, as the key is encoded already
            handle._state = FORMS[name] % (len(key), key)
        else:
            handle._state = pack(arguments)
        # The slot is found when the batch is sent: for all keys at once that is faster.
        self._keys.append(key if type(key) is bytes else slot_of(key))
        self._queue.append(handle)
        return handle

    def _execute_special(self, arguments: Arguments, reply: Callable[[Any], T]) -> Handle[T]:
        if self._immediate:
            common_slot([*self._watched, *traits(exact(arguments)).keys], "WATCH")
            return super()._execute_special(arguments, reply)
        facts = traits(arguments := exact(arguments))
        split = None if self._whole else split_of(facts)
        slot = slot_in_batch(facts) if split is None else split.slots[0]
        handle = super()._execute_special(arguments, reply)
        if split is not None:
            self._splits[len(self._keys)] = split
        self._keys.append(slot)
        return handle

    def has_used(self, what: object) -> bool:
        """Return False: another node may not have the script."""
        return False

    async def _run(self, raise_on_error: bool) -> list[Any]:
        if self._whole and self._splits:  # queued before keys were watched
            slot_of_command(next(iter(self._splits.values())).facts)
        self._routed.slots = slots_of(self._keys)
        self._routed.splits = self._splits
        self._keys, self._splits = [], {}
        return await super()._run(raise_on_error)

    async def watch(self, *names: Key) -> bool:
        """Watch keys of one slot, on a connection to its node; see `Pipeline.watch`."""
        slot = common_slot((*self._watched, *names), "WATCH")
        if self._watched or slot is None:
            await super().watch(*names)
        else:
            await self._routed.follow(slot, lambda: super(ClusterPipeline, self).watch(*names))
        self._watched += names
        return True

    async def reset(self) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Forget the queued commands, and stop watching."""
        self._keys.clear()
        self._splits = {}
        await super().reset()

    def _release(self) -> None:
        super()._release()
        self._watched = []


unmark_methods(ClusterPipeline)
ClusterPipeline._run.__qualname__ = Pipeline._run.__qualname__
