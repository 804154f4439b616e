"""Named states of a connection: its health, and how far it has read.

Owns both state machines as data, and the tables that explain them. Never acts: `Connection` does.
"""

from __future__ import annotations

from typing import Final

from aioresp.typed import Enum


class Health(Enum):
    """Health of a connection: only a `READY` one takes commands, and the other states are the reasons why not.

    | state | event | next state |
    |---|---|---|
    | handshake | opened: the server has accepted the handshake | ready |
    | ready | full: the transport's buffer is full | paused |
    | ready | doubted: the server owes a reply and has been silent for long | silent |
    | ready | rested: the pool found that it has carried nothing for long | resting |
    | paused | drained: the transport's buffer has room again | ready |
    | paused | doubted | stuck |
    | silent | heard: bytes arrived | ready |
    | silent | full | stuck |
    | stuck: paused and silent | drained | silent |
    | stuck | heard | paused |
    | resting | woken: a PING was sent | waking |
    | resting | doubted, when renewed credentials were sent | silent |
    | waking | answered: the reply to the PING is here | ready |
    | waking | doubted | silent |
    | ready | handed over: a listener has taken the socket | handed over |
    | resting | handed over | handed over |
    | each but ended | ended: an error, the peer or this client has ended it | ended |

    No other event changes a state. A full buffer is ignored during a handshake and while resting or waking. The reply
    that ends such a state proves that the server has read everything sent before.
    """

    HANDSHAKE = "handshake"
    READY = "ready"
    PAUSED = "paused"
    SILENT = "silent"
    STUCK = "paused, silent"
    RESTING = "resting"
    WAKING = "resting, waking"
    HANDED_OVER = "handed over"
    ENDED = "closed"


class Event(Enum):
    """Event that may change the health of a connection."""

    OPENED = "opened"
    FULL = "full"
    DRAINED = "drained"
    DOUBTED = "doubted"
    HEARD = "heard"
    RESTED = "rested"
    WOKEN = "woken"
    ANSWERED = "answered"
    HANDED_OVER = "handed over"
    ENDED = "ended"


#: The table of `Health` as data: the next state after each event that changes one.
HEALTH: Final[dict[tuple[Health, Event], Health]] = {
    (Health.HANDSHAKE, Event.OPENED): Health.READY,
    (Health.READY, Event.FULL): Health.PAUSED,
    (Health.READY, Event.DOUBTED): Health.SILENT,
    (Health.READY, Event.RESTED): Health.RESTING,
    (Health.PAUSED, Event.DRAINED): Health.READY,
    (Health.PAUSED, Event.DOUBTED): Health.STUCK,
    (Health.SILENT, Event.HEARD): Health.READY,
    (Health.SILENT, Event.FULL): Health.STUCK,
    (Health.STUCK, Event.DRAINED): Health.SILENT,
    (Health.STUCK, Event.HEARD): Health.PAUSED,
    (Health.RESTING, Event.WOKEN): Health.WAKING,
    (Health.RESTING, Event.DOUBTED): Health.SILENT,
    (Health.WAKING, Event.ANSWERED): Health.READY,
    (Health.WAKING, Event.DOUBTED): Health.SILENT,
    (Health.READY, Event.HANDED_OVER): Health.HANDED_OVER,
    (Health.RESTING, Event.HANDED_OVER): Health.HANDED_OVER,
    **{(state, Event.ENDED): Health.ENDED for state in Health if state is not Health.ENDED},
}


class Reading(Enum):
    """Progress in reading the replies that have arrived.

    | state | event | next state |
    |---|---|---|
    | whole: all replies that began are complete | a piece of a reply arrives | partial |
    | whole | a slice of the replies is handed out, and more may be here | sliced |
    | partial: a reply may be here in part | the last reply that began is complete | whole |
    | partial | a slice is handed out, and more may be here | sliced |
    | sliced: the rest waits for the next turn of the loop | that turn comes, or the connection is lost | partial |
    | sliced | more bytes arrive than may wait, and the transport stops reading | full |
    | full | the next turn of the loop comes, or the connection is lost | partial |

    After a turn that began as full and has handed out a slice of many, the state is full again. Otherwise the transport
    reads again.
    """

    WHOLE = "whole"
    PARTIAL = "partial"
    SLICED = "sliced"
    FULL = "full"


#: The table of `Reading` as data: the states that may follow each.
READING: Final[dict[Reading, frozenset[Reading]]] = {
    Reading.WHOLE: frozenset({Reading.PARTIAL, Reading.SLICED}),
    Reading.PARTIAL: frozenset({Reading.WHOLE, Reading.SLICED}),
    Reading.SLICED: frozenset({Reading.PARTIAL, Reading.FULL}),
    Reading.FULL: frozenset({Reading.PARTIAL}),
}

WHOLE: Final = Reading.WHOLE
PARTIAL: Final = Reading.PARTIAL
SLICED: Final = Reading.SLICED
FULL: Final = Reading.FULL
READY: Final = Health.READY
