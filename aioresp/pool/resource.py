"""Resources of a pool: their interface, their holders, and the figures of the pool.

Owns the protocols between a pool, its resources and work on them. Never imports asyncio and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from aioresp.record import Record

if TYPE_CHECKING:  # protocols take time to import

    class Resource(Protocol):
        """A connection, as far as the pool knows it."""

        in_flight: int
        """Number of commands under way."""

        @property
        def number(self) -> int:
            """Number of its own among all resources of the process."""
            ...

        capacity: int
        """Number of commands that it takes at present, 0 while it takes none; only the resource itself sets it."""
        lent: bool
        """Set when it is leased, cleared when the lease gives it back."""

        @property
        def resting(self) -> bool:
            """Whether it takes no commands because `rest` was called."""
            ...

        def attach(
            self, on_room: Callable[[], None], on_close: Callable[[Any], None], on_doubt: Callable[[Any], None]
        ) -> None:
            """Call `on_room` when there is room for more, and `on_close` with the resource once, at its end.

            `on_doubt` is called with the resource when it owes something and has been silent for long.
            """
            ...

        async def inquire(self, witness: Any) -> bool | None:
            """Return whether it is gone, as far as another resource can tell; None if that one does not answer."""
            ...

        def give_up(self) -> None:
            """End it, because it is gone; `on_close` follows."""
            ...

        def detach(self, on_close: Callable[[Any], None]) -> None:
            """Undo `attach`, because the pool has given it away."""
            ...

        def stretch(self) -> None:
            """Take more commands than allowed, until `relax`; called only while it takes any."""
            ...

        def relax(self) -> None:
            """Take no more commands than before `stretch`."""
            ...

        def rest(self) -> None:
            """Take no commands until `wake` has found it alive."""
            ...

        def wake(self) -> None:
            """Find out whether it still works; `on_room` or `on_close` follows."""
            ...

        @property
        def viable(self) -> bool:
            """Whether it can still be used."""
            ...

        def close(self) -> None:
            """End it; `on_close` follows."""
            ...

        def usage(self) -> tuple[int, int, int]:
            """Return the commands, bytes sent and bytes received since it was made."""
            ...

    class Work(Protocol):
        """Work on a leased connection that should not end halfway, perhaps after its caller has gone."""

        in_line: set[Any]
        """Futures of this work in the pool's line."""

        @property
        def connection(self) -> Any:
            """The leased resource that it is about; None for work on a shared one."""
            ...

        def recall(self) -> None:
            """End soon: the pool is about to close, and still gives connections."""
            ...

        def abandon(self) -> None:
            """Report what is lost: the pool is closed. Called without a running loop, too."""
            ...


R = TypeVar("R", bound="Resource")


class Holder:
    """Holder of a lease, for the message of `PoolTimeout`."""

    __slots__ = ("name", "since")

    def __init__(self, name: str, since: float) -> None:
        self.name = name
        self.since = since


class _Nobody:
    """Stands for the current resource while there is none: it never has room, so it is never handed out."""

    in_flight = 0
    capacity = 0


NOBODY: Final = _Nobody()


class PoolStats(Record):
    """The figures of one pool, or of several in sum."""

    open: int = 0
    """Connections open now."""
    leased: int = 0
    """Connections in exclusive use now."""
    in_flight: int = 0
    """Commands sent whose replies have not arrived."""
    waiting: int = 0
    """Callers waiting for a connection."""
    made: int = 0
    """Connections made since the start."""
    commands: int = 0
    """Commands sent since the start, handshakes included."""
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: PoolStats) -> PoolStats:
        """Return the sum, figure by figure."""
        return PoolStats(*(getattr(self, name) + getattr(other, name) for name in PoolStats.record_fields))
