"""Watch over one sentinel's messages: the news about a failover, for one event loop.

Owns the channels and the reading of their messages. It is a subscriber of the sentinel's hub, so no task waits for
messages. Never acts on the news: an outlook does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from aioresp.errors import ArgumentError, ClientClosed, NoPermissionError, RedisError
from aioresp.pubsub.hub import Hub
from aioresp.pubsub.topics import Moment, Topic
from aioresp.replicated.outlook import Outlook
from aioresp.replicated.places import Address
from aioresp.sentinel.words import news

logger = logging.getLogger("aioresp")

#: Channels on which sentinels tell of a failover.
SWITCH: Final = "+switch-master"
SELECTED: Final = "+selected-slave"
ABORTED: Final = "-failover-abort-*"

#: Channels on which they tell that a server or a sentinel has come or gone.
CHANGES: Final = (
    *("+slave", "+sdown", "-sdown", "+slave-reconf-done", "+convert-to-slave"),
    *("+sentinel", "+sentinel-address-switch", "+monitor"),
)

#: Seconds after which a sentinel whose messages could not be heard is tried again.
PAUSE: Final = 1.0


class Watch:
    """Subscriber that tells an outlook what one sentinel says."""

    decode = True
    waits = False

    def __init__(
        self, outlook: Outlook, hub: Hub, name: str, translate: Callable[[Address], Address] | None = None
    ) -> None:
        """Begin without topics; `translate` gives the address to connect to for one that the sentinel tells."""
        self._outlook = outlook
        self._hub = hub
        self._name = name
        self._translate = translate
        self._topics: list[Topic] = []
        self._deaf = False  # set when the sentinel cannot be heard, cleared when it is heard again

    def begin(self) -> None:
        """Hear the sentinel from now on."""
        for channel in (SWITCH, SELECTED, *CHANGES):
            self._topics.append(self._hub.join("", channel.encode(), self))
        self._topics.append(self._hub.join("p", ABORTED.encode(), self))
        self._hub.admit(self)

    @property
    def heard(self) -> bool:
        """Whether the sentinel is heard, or is known to be out of reach."""
        return self._deaf or all(topic.live for topic in self._topics)

    async def wait_until_heard(self, seconds: float) -> None:
        """Wait until the sentinel is heard, so many seconds at most."""
        try:
            await self._hub.confirmed(list(self._topics), seconds)
        except RedisError:
            pass

    def put(self, item: Any) -> None:
        """Take a message."""
        said = news(item.channel, item.data)
        if said is None or said.name != self._name:
            return
        if item.channel == SWITCH and said.to is not None:
            self._switch(said.to, said.before)
        elif item.channel == SELECTED:
            self._outlook.hold("a replica was chosen to be promoted")
        elif item.pattern is not None:
            self._outlook.release("the failover was given up")
        elif item.channel in CHANGES:
            self._outlook.look()

    def _switch(self, told: Address, before: Address | None) -> None:
        translate = self._translate
        if translate is not None:
            try:
                told, before = translate(told), None if before is None else translate(before)
            except ArgumentError as error:
                logger.warning("the new primary of %s cannot be reached: %s", self._name, error)
                self._outlook.verify()
                return
        self._outlook.switch(told, "the sentinels have agreed on it", before)

    def put_all(self, items: list[Any]) -> None:
        """Take messages."""
        for item in items:
            self.put(item)

    def put_error(self, error: Exception) -> None:
        """Take no notice of a message that is not UTF-8."""

    def lose(self, topic: Topic, since: Moment) -> None:
        """Do nothing yet: the topic comes back, and then the primary is asked for."""

    def regain(self, topic: Topic) -> None:
        """Ask for the primary, because its change may have been missed."""
        if topic.name == SWITCH.encode():
            if self._deaf:
                self._deaf = False
                logger.info("a sentinel of %s is heard again", self._name)
            self._outlook.verify()

    def end(self, error: RedisError | None = None) -> None:
        """Hear nothing more: the client is closed."""

    def deprive(self, topic: Topic, error: RedisError) -> None:
        """Try again later, if the sentinel could not be reached or refuses a channel."""
        if isinstance(error, ClientClosed) or not self._topics:
            return
        if isinstance(error, NoPermissionError) and error.command in ("SUBSCRIBE", "PSUBSCRIBE"):
            # The others are heard, and this one would be refused each time.
            logger.warning("%s: a sentinel refuses its user %r: %s", self._name, topic.name.decode(), error)
            self._topics.remove(topic)
            return
        topics, self._topics = self._topics, []
        # It may be down for hours, and is tried each second.
        logger.log(
            logging.DEBUG if self._deaf else logging.INFO, "a sentinel of %s cannot be heard: %s", self._name, error
        )
        self._deaf = True
        for other in topics:
            if other is not topic and self in other.subscribers:
                self._hub.leave(other, self)
        self._hub.dismiss(self)
        self._outlook.loop.call_later(PAUSE, self._again, context=Context())

    def _again(self) -> None:
        try:
            self.begin()
        except ClientClosed:
            pass
