"""Message format of the pipeline: the one thing that the API, the worker, the page and the load generator share.

A message is one entry of a Redis stream. Its field `event` holds an `Event` as JSON, so programs in any language can
write and read it.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from aioresp import Client, Cluster

#: The stream of accepted events. The braces keep all keys in one slot of a cluster.
STREAM: Final = "{analytics}:events"
#: Group of the workers: each event goes to one of them, and stays pending until it is acknowledged.
GROUP: Final = "database"
#: The list of events that nobody can store, each with the reason, newest last.
DEAD: Final = "{analytics}:dead"
#: The number of accepted events since ever, for the curve of the page.
ACCEPTED: Final = "{analytics}:accepted"
#: While this key exists, the workers rest: the button of the page sets it.
PAUSE: Final = "{analytics}:pause"
#: The field of an entry that holds the event.
FIELD: Final = "event"

Identifier = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{8,64}\Z", description="8 to 64 letters, digits, _ or -")]
Kind = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_.]{0,31}\Z", description="lower case, at most 32 characters")]
#: No control characters: PostgreSQL refuses the character 0 in a text.
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Page = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A/[^\x00-\x1f\x7f]*\Z")]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]


class Posted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event as a visitor's browser posts it.

    An event with an `id` of the sender may be posted again after a failure, and counts once. Without one, the API makes
    an id, and a repeated post is another event. Two events with one id are one event, so use a UUID.
    """

    kind: Kind
    page: Page
    user: Line
    ms: Milliseconds = 0
    id: Identifier | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event. `at` is its arrival at the API, in milliseconds since 1970.

    Fields that a worker does not know are ignored, so an API may be newer than the workers.
    """

    id: Identifier
    at: Annotated[int, Meta(ge=0, le=1 << 53)]
    kind: Kind
    page: Page
    user: Line
    ms: Milliseconds


class Buried(msgspec.Struct, frozen=True, kw_only=True):
    """An element of the list of dead letters: why nobody can store it, and what the entry held."""

    reason: str
    entry: str
    fields: dict[str, str]


def connect(name: str, **options: Any) -> Client[bytes]:
    """Return a client of the server in AIORESP_URL: one server, a Sentinel set or a cluster, as the URL says."""
    url = os.environ.get("AIORESP_URL", "redis://localhost")
    kind = Cluster if "+cluster://" in url else Client
    return kind(url, decode_responses=False, client_name=f"analytics-{name}", **options)
