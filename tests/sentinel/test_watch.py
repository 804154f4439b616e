"""News of sentinels: what each message does to the outlook of a loop."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp.pubsub.topics import Message
from aioresp.replicated.places import Address
from aioresp.sentinel.watch import Watch


class Notes:
    """An outlook that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def switch(self, to: Address, why: str, before: Address | None) -> None:
        self.told.append(("switch", to, before))

    def hold(self, why: str) -> None:
        self.told.append(("hold",))

    def release(self, why: str) -> None:
        self.told.append(("release",))

    def look(self) -> None:
        self.told.append(("look",))

    def verify(self) -> None:
        self.told.append(("verify",))


ABORT = "-failover-abort-*"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            Message("+switch-master", "m 1.1.1.1 1 2.2.2.2 2"),
            [("switch", Address("2.2.2.2", 2), Address("1.1.1.1", 1))],
        ),
        (Message("+selected-slave", "slave 1.1.1.1:1 1.1.1.1 1 @ m 2.2.2.2 2"), [("hold",)]),
        (Message("-failover-abort-no-good-slave", "master m 2.2.2.2 2", ABORT), [("release",)]),
        (Message("-failover-abort-slave-timeout", "master m 2.2.2.2 2", ABORT), [("release",)]),
        (Message("-failover-abort-not-elected", "master m 2.2.2.2 2", ABORT), [("release",)]),
        (Message("+sdown", "slave 1.1.1.1:1 1.1.1.1 1 @ m 2.2.2.2 2"), [("look",)]),
        (Message("+slave", "slave 1.1.1.1:1 1.1.1.1 1 @ m 2.2.2.2 2"), [("look",)]),
        (Message("+switch-master", "other 1.1.1.1 1 2.2.2.2 2"), []),
        (Message("+selected-slave", "slave 1.1.1.1:1 1.1.1.1 1 @ other 2.2.2.2 2"), []),
        (Message("-failover-abort-not-elected", "master other 2.2.2.2 2", ABORT), []),
        (Message("+switch-master", "m 1.1.1.1 1 2.2.2.2 70000"), []),
        (Message("+switch-master", "m"), []),
        (Message("+selected-slave", ""), []),
        (Message("+selected-slave", " @ "), []),
    ],
)
def test_each_message_has_its_meaning(message: Message[str], told: list[tuple[Any, ...]]) -> None:
    notes: Any = Notes()
    nothing: Any = None
    watch = Watch(notes, nothing, "m")
    watch.put_all([message])
    assert notes.told == told
