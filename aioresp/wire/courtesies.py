"""Courtesies of a handshake: commands that a server may refuse, because a connection works without them.

Owns which commands these are, and remembers for an hour what a server has refused a user. Never sends anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, TypeAlias

from aioresp.errors import AuthenticationError, LoadingError, MaxClientsError, ResponseError
from aioresp.retry import NOT_NOW
from aioresp.version import VERSION
from aioresp.wire.endpoint import Endpoint

#: Commands by their words.
Words: TypeAlias = tuple[tuple[Any, ...], ...]

#: The beginnings of the courtesies that a bare handshake does without. PING it has: without a reply to something, a
#: server that closes each connection would seem to have accepted it.
COURTESIES: Final = ("CLIENT ID", "CLIENT SETINFO", "CLIENT SETNAME", "INFO server")

#: The question by which connections to one server are told from those to several. Its answer holds the `run_id`.
IDENTITY: Final = ("INFO", "server")

#: Seconds after which a refused courtesy is tried again: the server, or the user's permissions, may have changed.
MEMORY: Final = 3600.0

#: Seconds after which they are tried again when a server was first thought to close connections for them: a network
#: may have cut that connection. If the server does it again, it is believed.
GUESS: Final = 10.0

#: Most refusals that are remembered; the oldest ones are forgotten.
REMEMBERED: Final = 1000

#: A server, a user, and the beginning of a command.
_Refusal: TypeAlias = tuple[str, str | None, str]

#: Servers that have said to a user who they are.
_genuine: Final[dict[tuple[str, str | None], None]] = {}

#: Times (monotonic) of refusals, oldest first. All clients, loops and threads of the process share them.
_refused: Final[dict[_Refusal, float]] = {}


def is_refusal(error: ResponseError) -> bool:
    """Return whether the server refuses a command as such: it does not know or allow it, in whichever words."""
    return not isinstance(error, (AuthenticationError, *NOT_NOW))


def tells_of_server(error: ResponseError) -> bool:
    """Return whether the server takes no commands at all now, so that a courtesy's error ends the handshake."""
    return isinstance(error, (AuthenticationError, LoadingError, MaxClientsError))


def introduction(endpoint: Endpoint) -> Words:
    """Return the commands that tell the server which library this is."""
    if endpoint.lib_name is None:
        return ()
    return ("CLIENT", "SETINFO", "LIB-NAME", endpoint.lib_name), ("CLIENT", "SETINFO", "LIB-VER", VERSION)


class Courtesies:
    """The courtesies of one handshake."""

    def __init__(self, endpoint: Endpoint, user: str | None, bare: bool) -> None:
        """Begin a handshake; a `bare` one has PING at most."""
        self.deadly = False
        """Set when the connection has ended after all that is needed was accepted, never cleared."""
        self.open = endpoint.lib_name is not None or user is None
        """Whether the server may be asked who it is. `lib_name=None` is for users without permissions, whose refusal
        would be in the ACL LOG."""
        self.genuine = False
        """Set when the server has named itself, or under RESP2 has numbered the connection; never cleared."""
        self.asks = False
        """Set when the handshake asks the server who it is, together with all else; never cleared."""
        self._server = str(endpoint)
        self._user = user
        self._bare = bare

    def kept(self, commands: Iterable[tuple[Any, ...]]) -> Words:
        """Return these courtesies without those that the server has refused."""
        return tuple(command for command in commands if self._is_welcome(_name(command)))

    def _is_welcome(self, name: str) -> bool:
        refused = _refused.get((self._server, self._user, name))
        return not (self._bare and name in COURTESIES) and (refused is None or refused < monotonic() - MEMORY)

    def identity(self, connection_knows: bool) -> Words:
        """Return the question who the server is, if it may be sent with all else: this server has answered before.

        Another one may be no Redis, and close the connection for it.
        """
        self.asks = not connection_knows and self.open and (self._server, self._user) in _genuine
        self.asks = self.asks and bool(self.kept((IDENTITY,)))
        return (IDENTITY,) if self.asks else ()

    def may_identify(self) -> bool:
        """Return whether the server may be asked who it is after all else."""
        return self.genuine and self.open and not self.asks and bool(self.kept((IDENTITY,)))

    def identified(self) -> None:
        """Note that the server has said who it is."""
        _genuine.pop((self._server, self._user), None)
        _genuine[self._server, self._user] = None
        while len(_genuine) > REMEMBERED:
            _genuine.pop(next(iter(list(_genuine)), ("", None)), None)

    def note(self, accepted: Iterable[tuple[Any, ...]], refused: Iterable[tuple[Any, ...]]) -> None:
        """Note which of these the server has accepted and refused, in a handshake that it has accepted otherwise."""
        for command in accepted:
            _refused.pop((self._server, self._user, _name(command)), None)
        for command in refused:
            self._refuse(_name(command), monotonic())

    def suspect(self) -> None:
        """Note that the server has accepted a bare handshake, after it had closed a connection in another one."""
        now = monotonic()
        for name in COURTESIES:
            refused = _refused.get((self._server, self._user, name))
            if refused is None:
                self._refuse(name, now - MEMORY + GUESS)
            elif refused < now - MEMORY:  # it was tried again, with the same end
                self._refuse(name, now)

    def _refuse(self, name: str, when: float) -> None:
        key = self._server, self._user, name
        _refused.pop(key, None)
        _refused[key] = when
        while len(_refused) > REMEMBERED:
            _refused.pop(next(iter(list(_refused)), ("", None, "")), None)


def _name(command: tuple[Any, ...]) -> str:
    return " ".join(command[:2])
