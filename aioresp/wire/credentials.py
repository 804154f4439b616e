"""Credentials of a login, and the providers that give new ones when they change.

Owns the forms that credentials may have. Never connects, and never shows a password.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from aioresp.arguments import numeral
from aioresp.errors import AuthenticationError, ConnectError, copy_error
from aioresp.record import Record


class Credentials(Record):
    """A user and a password. After `renew_after` seconds (None: never) a connection asks for new ones."""

    username: str | None
    """None for the default user."""
    password: str
    renew_after: float | None = None

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, renew_after={numeral(self.renew_after)})"

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments of AUTH."""
        return (self.username, self.password) if self.username else (self.password,)


#: Answer of a provider: a password, a user and a password, or both with the time of their renewal.
Given: TypeAlias = str | tuple[str] | tuple[str | None, str] | Credentials


if TYPE_CHECKING:  # protocols take time to import

    class Provides(Protocol):
        """An object that gives credentials, as redis-py's `CredentialProvider` does; or by `get_credentials_async`."""

        def get_credentials(self) -> Given:
            """Return the credentials of this moment."""
            ...

    #: The option `credential_provider`: a function or a coroutine function without arguments, or a `Provides`.
    CredentialProvider: TypeAlias = Callable[[], Given | Awaitable[Given]] | Provides
else:
    CredentialProvider = Callable


async def ask(provider: CredentialProvider) -> Credentials:
    """Return what the provider gives. Raises ConnectError if it fails, or gives something else."""
    try:
        get: Any = getattr(provider, "get_credentials_async", None) or getattr(provider, "get_credentials", provider)
        given = get()
        if isinstance(given, Awaitable):
            given = await given
    except Exception as error:
        # Its message is not repeated: it may hold a password.
        raise ConnectError(f"the credential provider raised {type(error).__name__}") from error
    return _credentials(given)


def _credentials(given: Any) -> Credentials:
    """Return them in one form. Errors do not show the provider's answer: it may be a password of another form."""
    if isinstance(given, str):
        given = Credentials(None, given)
    elif isinstance(given, (tuple, list)) and len(given) in (1, 2):
        given = Credentials(given[0] if len(given) == 2 else None, given[-1])
    if not isinstance(given, Credentials):
        raise ConnectError(
            f"the credential provider gave {type(given).__name__}, not a password, (username, password) or Credentials"
        )
    for name, kinds in (
        ("username", (str, type(None))),
        ("password", (str,)),
        ("renew_after", (int, float, type(None))),
    ):
        value = getattr(given, name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ConnectError(f"the credential provider gave a {name} that is {type(value).__name__}")
    after = given.renew_after
    if after is not None and (not 0 < after < math.inf or (isinstance(after, int) and after >= 2**63)):
        raise ConnectError(f"the credential provider gave a renew_after of {numeral(after)}, not seconds above 0")
    return given


def as_whom(error: AuthenticationError, credentials: Credentials | None) -> AuthenticationError:
    """Return the error of a refused login with the user whom the server has refused, or with what to give."""
    if credentials is None:
        said = "; give a password (and a username, if it is not the default user)"
    elif credentials.username is None:
        said = " (as the default user)"
    else:
        name = credentials.username
        said = f" (as user {name[:50]!r}{'...' if len(name) > 50 else ''})"
    own = copy_error(error)
    own.args = (f"{error.args[0]}{said}",)
    return own
