"""CLIENT: list, name, pause, unblock and kill the server's connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from aioresp.command import AnyStr, Arguments, Key, Result, Seconds, Value
from aioresp.commands.base import Executor, at_most_one, filled, listed, milliseconds, seconds
from aioresp.errors import ArgumentError, ArgumentTypeError
from aioresp.hints import meant
from aioresp.replies import Late, boolean, integer, ok, text
from aioresp.typed import TypedDict

if TYPE_CHECKING:
    from aioresp.replies import clients as replies
    from aioresp.replies.clients import ClientInfo, TrackingInfo
else:
    replies = Late("clients")

Switch = Literal["ON", "OFF"]


class ClientFilters(TypedDict, total=False):
    """What a connection must be like, for `client_kill_filter` and `client_list`; `not_...`: what it must not.

    `laddr` since 6.2, `maxage` since 7.4 and Valkey 8.0; with `client_list` these, `addr` and `user` since Valkey 8.1.
    All others since Valkey 9.0; what Valkey alone has, Redis does not. `maxage` and `idle`: so many seconds
    at least.
    """

    addr: str | None
    laddr: str | None
    user: str | None
    maxage: Seconds | None
    name: str | None
    idle: Seconds | None
    flags: str | None
    lib_name: str | None
    lib_ver: str | None
    db: int | None
    capa: str | None
    ip: str | None
    not_id: int | Iterable[int] | None
    not_type: str | None
    not_addr: str | None
    not_laddr: str | None
    not_user: str | None
    not_name: str | None
    not_flags: str | None
    not_lib_name: str | None
    not_lib_ver: str | None
    not_db: int | None
    not_capa: str | None
    not_ip: str | None


_FILTERS: Final = frozenset(ClientFilters.__annotations__)


def _filters(command: str, filters: Any, kind: str | None, **ids: int | Iterable[int] | None) -> Arguments:
    ((name, numbers),) = ids.items()
    options: Arguments = () if numbers is None else ("ID", *filled(command, name, listed(numbers)))
    options += () if kind is None else ("TYPE", kind)
    for name, value in filters.items():
        if name not in _FILTERS:
            raise ArgumentTypeError(f"{command}: there is no filter {name!r}{meant(name, _FILTERS)}")
        if value is not None:
            option = name.replace("_", "-").upper()
            if name == "not_id":
                options += (option, *filled(command, name, listed(value)))
            else:
                options += (option, seconds(value, command, name) if name in ("maxage", "idle") else value)
    return options


class ClientCommands(Executor[AnyStr]):
    """Commands on the server's clients. What changes a connection belongs on a leased one."""

    def client_caching(self, enabled: bool) -> Result[bool]:
        """Track the keys of the next command, or not, on a leased connection with OPTIN or OPTOUT. Since 6.0."""
        return self.execute(("CLIENT", "CACHING", "YES" if enabled else "NO"), ok)

    def client_capa(self, *capabilities: str) -> Result[bool]:
        """Tell the server what a leased connection can do, "redirect" for instance. Since Valkey 8.0; not in Redis."""
        return self.execute(("CLIENT", "CAPA", *filled("CLIENT CAPA", "capabilities", capabilities)), ok)

    def client_getname(self) -> Result[AnyStr | None]:
        """Return the name of the connection that happens to carry this command."""
        return self.execute(("CLIENT", "GETNAME"), text)

    def client_getredir(self) -> Result[int]:
        """Return which client is told what this connection tracks: an id, 0 for itself, -1 for none. Since 6.0."""
        return self.execute(("CLIENT", "GETREDIR"), integer)

    def client_id(self) -> Result[int]:
        """Return the server's number for the connection that happens to carry this command."""
        return self.execute(("CLIENT", "ID"), integer)

    def client_import_source(self, mode: Switch) -> Result[bool]:
        """Mark a leased connection as one that imports data. Since Valkey 8.1; not in Redis."""
        return self.execute(("CLIENT", "IMPORT-SOURCE", mode), ok)

    def client_info(self) -> Result[ClientInfo]:
        """Return what the server knows of the connection that happens to carry this command. Since 6.2."""
        return self.execute(("CLIENT", "INFO"), replies.client_info)

    def client_kill(self, address: str) -> Result[bool]:
        """End the connection with this address and port. Raises ResponseError if there is none."""
        return self.execute(("CLIENT", "KILL", address), ok)

    def client_kill_filter(
        self,
        *,
        _id: int | Iterable[int] | None = None,
        _type: str | None = None,
        skipme: bool = True,
        **filters: Unpack[ClientFilters],
    ) -> Result[int]:
        """End the connections that match all filters and return how many that were; see `ClientFilters`.

        `skipme` spares the one that carries this command. Several ids since Valkey 8.1.
        """
        options = _filters("CLIENT KILL", filters, _type, _id=_id)
        if not options:
            raise ArgumentError("CLIENT KILL: give at least one filter")
        return self.execute(("CLIENT", "KILL", *options, "SKIPME", "YES" if skipme else "NO"), integer)

    def client_list(
        self,
        _type: str | None = None,
        client_id: Iterable[int] | None = None,
        *,
        skipme: bool | None = None,
        **filters: Unpack[ClientFilters],
    ) -> Result[list[ClientInfo]]:
        """Return what the server knows of its connections, of one type or with given ids only (ids since 6.2).

        Further filters, see `ClientFilters`, and `skipme` since Valkey 8.1; all must match. Redis has a type or ids,
        not both.
        """
        options = _filters("CLIENT LIST", filters, _type, client_id=client_id)
        options += () if skipme is None else ("SKIPME", "YES" if skipme else "NO")
        return self.execute(("CLIENT", "LIST", *options), replies.client_infos)

    def client_no_evict(self, mode: Switch) -> Result[bool]:
        """Spare a leased connection when the server closes some for want of memory, or not. Since 7.0."""
        return self.execute(("CLIENT", "NO-EVICT", mode), ok)

    def client_no_touch(self, mode: Switch) -> Result[bool]:
        """Read on a leased connection without a trace in the keys' idle times and frequencies. Since 7.2."""
        return self.execute(("CLIENT", "NO-TOUCH", mode), ok)

    def client_pause(self, timeout: Seconds, all: bool = True) -> Result[bool]:
        """Let the server hold back all commands, or only writes (since 6.2), for `timeout` milliseconds."""
        return self.execute(
            ("CLIENT", "PAUSE", milliseconds(timeout, "CLIENT PAUSE", "timeout"), *(() if all else ("WRITE",))), ok
        )

    def client_setinfo(self, attr: Literal["LIB-NAME", "LIB-VER"], value: str) -> Result[bool]:
        """Tell the server which library a leased connection belongs to. Since 7.2."""
        return self.execute(("CLIENT", "SETINFO", attr, value), ok)

    def client_setname(self, name: Value) -> Result[bool]:
        """Give a leased connection a name, or none if that is empty. The option `client_name` is for all."""
        return self.execute(("CLIENT", "SETNAME", name), ok)

    def client_tracking(
        self,
        on: bool = True,
        clientid: int | None = None,
        prefix: Iterable[Key] = (),
        *,
        bcast: bool = False,
        optin: bool = False,
        optout: bool = False,
        noloop: bool = False,
    ) -> Result[bool]:
        """Have the server tell of changes to what a leased connection reads, or to all keys (`bcast`). Since 6.0.

        `Lease.pushes` yields what it tells. `clientid` is told instead, if given. `prefix` narrows `bcast`; `optin` and
        `optout` need `client_caching`; `noloop` leaves out the connection's own changes.
        """
        at_most_one("CLIENT TRACKING", bcast=bcast, optin=optin, optout=optout)
        prefixes = listed(prefix)
        if prefixes and not bcast:
            raise ArgumentError("CLIENT TRACKING: prefix needs bcast")
        options: Arguments = () if clientid is None else ("REDIRECT", clientid)
        for one in prefixes:
            options += ("PREFIX", one)
        flags = {"BCAST": bcast, "OPTIN": optin, "OPTOUT": optout, "NOLOOP": noloop}
        options += tuple(name for name, given in flags.items() if given)
        return self.execute(("CLIENT", "TRACKING", "ON" if on else "OFF", *options), ok)

    def client_trackinginfo(self) -> Result[TrackingInfo[AnyStr]]:
        """Return what the connection tracks that happens to carry this command. Since 6.2."""
        return self.execute(("CLIENT", "TRACKINGINFO"), replies.tracking_info)

    def client_unblock(self, client_id: int, error: bool = False) -> Result[bool]:
        """End another connection's blocking command, as if timed out or with an error; return whether there was one."""
        return self.execute(("CLIENT", "UNBLOCK", client_id, *(("ERROR",) if error else ())), boolean)

    def client_unpause(self) -> Result[bool]:
        """End `client_pause`. Since 6.2."""
        return self.execute(("CLIENT", "UNPAUSE"), ok)
