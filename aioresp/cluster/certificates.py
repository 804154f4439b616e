"""Login at a node: the name in its certificate, where the cluster tells an IP address, and the errors that name it.

Owns which name each certificate was found to have. Never decides which node is connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from aioresp.cluster.topology import Address, host_port
from aioresp.errors import AuthenticationError, TLSError, copy_error
from aioresp.node import Dial
from aioresp.wire.connection import Connection
from aioresp.wire.endpoint import Endpoint

#: Codes of OpenSSL for a certificate that does not have the host name, or the IP address.
_MISMATCH: Final = (62, 64)


class Certificates:
    """Names in the certificates of the nodes of one cluster, by address."""

    def __init__(self) -> None:
        self._found: dict[Address, str] = {}

    async def connect(self, dial: Dial, endpoint: Endpoint, names_of: Callable[[Address], list[str]]) -> Connection:
        """Connect to a node. If its certificate is not for its host, it may be for one of `names_of` its address.

        Raises AuthenticationError and TLSError with advice, and all that `dial` does.
        """
        address = endpoint.host, endpoint.port
        known = self._found.get(address)
        try:
            return await dial(endpoint if known is None else endpoint.replace(server_hostname=known))
        except AuthenticationError as error:
            raise _refused(error, address) from error
        except TLSError as error:
            if not _is_mismatch(error):
                raise
            failed = error
        names = names_of(address)
        try:
            for name in names if known is None else [endpoint.host, *names]:
                try:
                    made = await dial(endpoint.replace(server_hostname=name))
                except TLSError as error:
                    if not _is_mismatch(error):
                        raise
                else:
                    self._found[address] = name
                    return made
            raise _nameless(failed, address, names)
        finally:
            del failed  # its traceback holds this frame


def _refused(error: AuthenticationError, address: Address) -> AuthenticationError:
    """Return the error of a refused login with the node that has refused it: the others may accept it."""
    own = copy_error(error)
    own.args = (f"{error.args[0]} at {host_port(*address)}: all nodes need the same user and password",)
    return own


def _is_mismatch(error: TLSError) -> bool:
    """Return whether only the name in a certificate did not fit."""
    return getattr(error.__cause__, "verify_code", 0) in _MISMATCH


def _nameless(error: TLSError, address: Address, names: Collection[str]) -> TLSError:
    own = copy_error(error)
    tried = f" (tried, too: {', '.join(names)})" if names else ""
    own.args = (
        f"{error.args[0]}; the cluster tells this node as {host_port(*address)}{tried}: let the nodes announce the "
        "names of their certificates (cluster-announce-hostname, cluster-preferred-endpoint-type hostname), or "
        "translate the addresses by address_map",
    )
    return own
