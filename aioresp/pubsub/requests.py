"""Requests on a pub/sub connection that await their answers, oldest first.

Owns the pairing of answers with requests, and the moment up to which all messages have arrived. Never sends, and never
decides what follows from an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from aioresp.errors import ClusterDownError, MovedError, RedisError
from aioresp.pubsub.topics import Moment, Topic


class Request(NamedTuple):
    """One request: each has one answer, and the answers come in the order of the requests."""

    answer: bytes
    """Name of the answer: "subscribe", "sunsubscribe", "pong", ..."""
    since: Moment
    """Moment before it was sent. With the answer, all that had been published by then has arrived."""
    topic: Topic | None = None
    """Topic that is subscribed to or dropped; None for PING and AUTH."""
    settle: Callable[[RedisError | None], None] | None = None
    """Function that gets the error of the answer, or None; any other answer will do."""


class Requests:
    """Requests of one hub; the server answers all on a connection, and none after its loss."""

    def __init__(self) -> None:
        #: Moment up to which all messages have arrived; it tells nothing of topics that were not live by then.
        self.complete = Moment.now()
        #: Function that returns the slot of a shard channel; None if there is one server.
        self.slot_of: Callable[[bytes], int] | None = None
        self._due: deque[Request] = deque()
        #: Requests to drop a shard channel whose answer may have been the word that its slot has moved. Then the answer
        #: is an error, and still to come.
        self._doubtful: deque[Request] = deque()

    def __len__(self) -> int:
        return len(self._due)

    def add(
        self, answer: bytes, topic: Topic | None = None, settle: Callable[[RedisError | None], None] | None = None
    ) -> None:
        """Note a request that is sent in this turn of the loop."""
        self._due.append(Request(answer, Moment.now(), topic, settle))

    def expects(self, answer: bytes, name: bytes) -> bool:
        """Return whether the oldest request is about that topic and has such an answer."""
        oldest = self._due[0] if self._due else None
        return oldest is not None and oldest.answer == answer and oldest.topic is not None and oldest.topic.name == name

    def answered(self, answer: bytes, item: Any) -> Request:
        """Return the request that `item` answers; raise LookupError or ValueError if it answers none."""
        if self._doubtful and self._is_late(item):
            return self._doubtful.popleft()
        request = self._due.popleft()
        self.complete = request.since
        if request.settle is not None or isinstance(item, RedisError):
            return request
        if answer != request.answer or (request.topic is not None and item[1] != request.topic.name):
            raise ValueError(f"another answer than the due {request.answer!r}")
        if answer == b"sunsubscribe" and self.slot_of is not None:
            self._doubtful.append(request)
        else:
            self._doubtful.clear()  # the answers come in the order of the requests
        return request

    def _is_late(self, item: Any) -> bool:
        """Return whether `item` is the error of a doubtful request, as the oldest one that is due cannot have it."""
        if not isinstance(item, (MovedError, ClusterDownError)):
            return False
        oldest = self._due[0] if self._due else None
        if oldest is None or oldest.topic is None or oldest.topic.kind != "s":
            return True
        assert self.slot_of is not None
        return isinstance(item, MovedError) and item.slot != self.slot_of(oldest.topic.name)

    def clear(self) -> None:
        """Forget all requests: their connection was lost."""
        self._due.clear()
        self._doubtful.clear()
