"""State machine of a subscription hub: states, events, and the table of transitions.

| state      | event     | next       | meaning                                                           |
|------------|-----------|------------|-------------------------------------------------------------------|
| idle       | wanted    | connecting | a first topic was joined, or topics outlived their connection     |
| idle       | shut      | closed     | the client was closed                                             |
| connecting | made      | connected  | all topics are requested on the new connection                    |
| connecting | not made  | idle       | the attempt failed, was cancelled, or found no topic left         |
| connecting | shut      | closing    | the attempt is cancelled, and has to end                          |
| connected  | unused    | leaving    | there was no topic for a while: the connection is being closed    |
| connected  | lost      | idle       | the connection ended; every confirmed topic now has a gap         |
| connected  | shut      | closing    | the connection is being closed                                    |
| leaving    | lost      | idle       | the unused connection ended; topics joined meanwhile want another |
| leaving    | shut      | closing    | the connection is being closed already                            |
| closing    | not made  | closed     | the cancelled attempt ended                                       |
| closing    | lost      | closed     | the connection ended                                              |

Owns which events are possible in which state. Never acts: the hub does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aioresp.typed import Enum


class State(Enum):
    """Situation of a hub with regard to its connection."""

    IDLE = "idle"
    """There is neither a connection nor an attempt to make one."""
    CONNECTING = "connecting"
    """A task connects, or pauses before it does so."""
    CONNECTED = "connected"
    """A connection carries the requests of all topics."""
    LEAVING = "leaving"
    """The unused connection is being closed; topics that are joined now wait for the next one."""
    CLOSING = "closing"
    """The client was closed; an attempt or a connection has to end."""
    CLOSED = "closed"
    """The client was closed, and nothing is left."""


class Event(Enum):
    """Something that moves a hub from one state to another."""

    WANTED = "wanted"
    MADE = "made"
    NOT_MADE = "not made"
    UNUSED = "unused"
    LOST = "lost"
    SHUT = "shut"


#: Next state by state and event. An event that is missing for a state is impossible there.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.IDLE, Event.WANTED): State.CONNECTING,
    (State.IDLE, Event.SHUT): State.CLOSED,
    (State.CONNECTING, Event.MADE): State.CONNECTED,
    (State.CONNECTING, Event.NOT_MADE): State.IDLE,
    (State.CONNECTING, Event.SHUT): State.CLOSING,
    (State.CONNECTED, Event.UNUSED): State.LEAVING,
    (State.CONNECTED, Event.LOST): State.IDLE,
    (State.CONNECTED, Event.SHUT): State.CLOSING,
    (State.LEAVING, Event.LOST): State.IDLE,
    (State.LEAVING, Event.SHUT): State.CLOSING,
    (State.CLOSING, Event.NOT_MADE): State.CLOSED,
    (State.CLOSING, Event.LOST): State.CLOSED,
}

#: States in which the client has been closed.
SHUT: Final = frozenset({State.CLOSING, State.CLOSED})
