"""Errors of a stream, and of replies that cannot be made into values.

Owns their words. Never touches the stream.
"""

from __future__ import annotations

from aioresp.errors import DecodeError, ProtocolError, ReplyTooLarge, response_error
from aioresp.wire.maps import MARK, SECRET


class Lost(Exception):
    """Signal of a walk, and no error for callers: the bytes are not RESP, or not as a server sends it."""


def broken(error: Exception) -> ProtocolError:
    """Return the error that tells every caller why the stream is finished."""
    if isinstance(error, ReplyTooLarge):
        return ProtocolError("the server sent a reply that is too large; the connection was dropped")
    if isinstance(error, MemoryError):
        return ProtocolError("the server announced more than the memory holds; the connection was dropped")
    return ProtocolError(f"the server sent something that is not RESP ({error}); the connection was dropped")


def undecodable(error: UnicodeDecodeError) -> DecodeError:
    """Return the error for the caller of a reply that is not UTF-8."""
    return DecodeError(f"the reply is not UTF-8 ({error.reason}); use decode_responses=False to get bytes")


def unreadable(what: str) -> DecodeError:
    """Return the error for the caller of a reply that hiredis refuses because of what is in it."""
    return DecodeError(f"the server sent {what}, so the reply cannot be read; the command has run")


def error_value(message: str | bytes) -> Exception:
    """Return the value of an error line."""
    text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    return MARK if text == SECRET else response_error(text)
