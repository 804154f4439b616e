"""ACL: users and their permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor
from aioresp.errors import ArgumentError
from aioresp.replies import Late, each, integer, ok, shown, string, texts

if TYPE_CHECKING:
    from aioresp.replies import acl as replies
    from aioresp.replies.acl import Denial, User
else:
    replies = Late("acl")


def _raw(rule: Key) -> bytes:
    return rule.encode() if isinstance(rule, str) else bytes(rule)


def _signed(argument: str, rule: Key, plus: bytes, minus: bytes) -> bytes:
    """Return a rule with its + or - written as the server wants it. Errors do not show it: it may be a password."""
    raw = _raw(rule)
    if raw[:1] not in (b"+", b"-"):
        raise ArgumentError(f"ACL SETUSER: each of {argument} begins with + or -")
    return (plus if raw[:1] == b"+" else minus) + raw[1:]


def _category(rule: Key) -> bytes:
    raw = _signed("categories", rule, b"+", b"-")
    return raw if raw[1:2] == b"@" else raw[:1] + b"@" + raw[1:]


def _pattern(key: Key) -> bytes:
    raw = _raw(key)
    return raw if raw[:1] in (b"~", b"%") else b"~" + raw


def _several(rules: Key | Iterable[Key] | None) -> Iterable[Key]:
    if rules is None:
        return ()
    return cast(Iterable[Key], [rules] if isinstance(rules, (str, bytes, memoryview)) else rules)


class AclCommands(Executor[AnyStr]):
    """Commands on users."""

    def acl_cat(self, category: str | None = None) -> Result[list[str]]:
        """Return the categories of commands, or the commands of one. Since 6.0."""
        return self.execute(("ACL", "CAT", *(() if category is None else (category,))), each(string))

    def acl_deluser(self, username: str, *args: str) -> Result[int]:
        """Delete users, end their connections, and return how many there were. Since 6.0."""
        return self.execute(("ACL", "DELUSER", username, *args), integer)

    def acl_dryrun(self, username: str, *args: Value) -> Result[str]:
        """Return "OK" if the user may run the command of `args`, or else the reason why not. Since 7.0."""
        return self.execute(("ACL", "DRYRUN", username, *args), shown)

    def acl_genpass(self, bits: int | None = None) -> Result[str]:
        """Return a random password of so many bits (256), in hexadecimal digits. Since 6.0."""
        return self.execute(("ACL", "GENPASS", *(() if bits is None else (bits,))), string)

    def acl_getuser(self, username: str) -> Result[User[AnyStr] | None]:
        """Return a user, or None if there is none of that name. Since 6.0."""
        return self.execute(("ACL", "GETUSER", username), replies.user)

    def acl_list(self) -> Result[list[AnyStr]]:
        """Return all users, each as a line of rules. Since 6.0."""
        return self.execute(("ACL", "LIST"), texts)

    def acl_load(self) -> Result[bool]:
        """Read the users from the server's ACL file again. Since 6.0."""
        return self.execute(("ACL", "LOAD"), ok)

    def acl_log(self, count: int | None = None) -> Result[list[Denial]]:
        """Return what was refused last, the latest first; ten entries, or `count`. Since 6.0."""
        return self.execute(("ACL", "LOG", *(() if count is None else (count,))), replies.denials)

    def acl_log_reset(self) -> Result[bool]:
        """Delete the entries of the ACL log. Since 6.0."""
        return self.execute(("ACL", "LOG", "RESET"), ok)

    def acl_save(self) -> Result[bool]:
        """Write the users to the server's ACL file. Since 6.0."""
        return self.execute(("ACL", "SAVE"), ok)

    def acl_setuser(
        self,
        username: str,
        enabled: bool | None = None,
        nopass: bool = False,
        passwords: Key | Iterable[Key] | None = None,
        hashed_passwords: Key | Iterable[Key] | None = None,
        categories: Key | Iterable[Key] | None = None,
        commands: Key | Iterable[Key] | None = None,
        keys: Key | Iterable[Key] | None = None,
        channels: Key | Iterable[Key] | None = None,
        selectors: Iterable[tuple[Key, Key]] | None = None,
        *,
        reset: bool = False,
        reset_keys: bool = False,
        reset_channels: bool = False,
        reset_passwords: bool = False,
        rules: Key | Iterable[Key] | None = None,
    ) -> Result[bool]:
        """Make a user, or change one; what is reset is reset first. Since 6.0.

        Passwords, categories and commands begin with + or -: `passwords=["+new", "-old"]`, `categories=["+read"]`,
        `commands=["+get", "-config|set"]`. `keys` are globs, or "%R~glob" and "%W~glob" (since 7.0), `channels` globs
        (since 6.2), `selectors` pairs of a command and a key (since 7.0). `enabled` None leaves that as it is; a new
        user is not enabled. `rules` are sent as they are, at the end.
        """
        if nopass and (passwords or hashed_passwords):
            raise ArgumentError("ACL SETUSER: nopass and passwords exclude each other")
        resets = {
            "reset": reset,
            "resetkeys": reset_keys,
            "resetchannels": reset_channels,
            "resetpass": reset_passwords,
        }
        pieces: list[Value] = [name for name, given in resets.items() if given]
        pieces += [] if enabled is None else ["on" if enabled else "off"]
        pieces += [_signed("passwords", rule, b">", b"<") for rule in _several(passwords)]
        pieces += [_signed("hashed_passwords", rule, b"#", b"!") for rule in _several(hashed_passwords)]
        pieces += ["nopass"] if nopass else []
        pieces += [_category(rule) for rule in _several(categories)]
        pieces += [_signed("commands", rule, b"+", b"-") for rule in _several(commands)]
        pieces += [_pattern(key) for key in _several(keys)]
        pieces += [b"&" + _raw(channel) for channel in _several(channels)]
        for command, key in selectors or ():
            pieces.append(b"(%b %b)" % (_signed("selectors", command, b"+", b"-"), _pattern(key)))
        return self.execute(("ACL", "SETUSER", username, *pieces, *_several(rules)), ok)

    def acl_users(self) -> Result[list[str]]:
        """Return the names of all users. Since 6.0."""
        return self.execute(("ACL", "USERS"), each(shown))

    def acl_whoami(self) -> Result[str]:
        """Return the ACL user that we are. Since 6.0."""
        return self.execute(("ACL", "WHOAMI"), shown)
