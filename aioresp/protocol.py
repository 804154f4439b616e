"""RESP without I/O: `pack` arguments into bytes, feed a `Parser` and take replies out of it.

The only module that imports hiredis. Never touches a socket, never awaits, never knows what a command means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import hiredis

from aioresp.errors import ProtocolError, ResponseError, response_error

#: Arguments from this many bytes on travel as chunks of their own: hiredis copies 1 MiB in about a millisecond.
CHUNK: Final = 32 * 1024

Packed: TypeAlias = bytes | list[bytes]

#: What `Parser.gets` returns while the reply is not complete.
INCOMPLETE: Final = object()

#: The type of out-of-band messages (RESP3 pushes); a list of their parts.
Push = hiredis.PushNotification

_pack_command: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


def pack(arguments: tuple[Any, ...]) -> Packed:
    """Return a command as bytes, or as a list of chunks if one of its arguments is large.

    Raises TypeError, naming the command and the position, for an argument that is not str, bytes, bytearray,
    memoryview, int or float (bool is none of these), and ValueError for a str that has no UTF-8 form.
    """
    try:
        # A key, or a key and a text, as most commands are: looked at without a loop.
        if len(arguments) == 2:
            if arguments[1].__class__ is str:
                return _pack_command(arguments)
        elif len(arguments) == 3:
            _, key, value = arguments
            if value.__class__ is str and key.__class__ is str and len(value) <= CHUNK:
                return _pack_command(arguments)
        elif len(arguments) > 16 and _is_short_text(arguments):
            return _pack_command(arguments)
        for argument in arguments:
            kind = argument.__class__
            if kind is str or kind is bytes:
                if len(argument) > CHUNK:
                    return _pack_chunks(arguments)
            elif kind is not int and kind is not float:
                return _pack_chunks(arguments)
        return _pack_command(arguments)
    except UnicodeEncodeError:
        return _pack_chunks(arguments)


def _is_short_text(arguments: tuple[Any, ...]) -> bool:
    """Return whether all arguments are str and short: joining them tells so faster than a loop."""
    try:
        return len("".join(arguments)) <= CHUNK
    except TypeError:
        return False


def _pack_chunks(arguments: tuple[Any, ...]) -> Packed:
    """Pack what hiredis packs slowly, wrongly (views with strides) or not at all, and name what cannot be sent."""
    head = b"*%d\r\n" % len(arguments)
    chunks: list[bytes] = []
    for position, argument in enumerate(arguments):
        data = _encode(arguments[0], position, argument)
        if len(data) > CHUNK:
            chunks += (head + b"$%d\r\n" % len(data), data)
            head = b"\r\n"
        else:
            head += b"$%d\r\n" % len(data) + data + b"\r\n"
    if not chunks:
        return head
    chunks.append(head)
    return chunks


def _encode(command: object, position: int, argument: object) -> bytes:
    if isinstance(argument, str):
        try:
            return argument.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{command}: argument {position} has no UTF-8 form ({error.reason} at {error.start}); pass bytes"
            ) from None
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, (bytearray, memoryview)):
        # A view of the caller's buffer could change between the call and the write.
        return bytes(argument)
    if isinstance(argument, int) and not isinstance(argument, bool):
        return b"%d" % int(argument)
    if isinstance(argument, float):
        return repr(float(argument)).encode()
    hint = "; pass 1 or 0" if isinstance(argument, bool) else ""
    raise TypeError(
        f"{command}: argument {position} is {type(argument).__name__}, "
        f"not str, bytes, bytearray, memoryview, int or float{hint}"
    )


def unpack(packed: Packed) -> list[bytes]:
    """Return the first arguments of a packed command, as many of the first four as stand before a large one."""
    head = packed if isinstance(packed, bytes) else packed[0]
    arguments: list[bytes] = []
    position = head.index(b"\r\n") + 2
    while len(arguments) < 4 and head[position : position + 1] == b"$":
        start = head.index(b"\r\n", position) + 2
        end = start + int(head[position + 1 : start - 2])
        if end > len(head):
            break
        arguments.append(head[start:end])
        position = end + 2
    return arguments


class Parser:
    """Turns bytes into replies.

    `feed(data)` takes bytes; `gets(decode)` returns the next reply, or `INCOMPLETE`; `has_partial()` tells whether
    bytes are left of which nothing could be made yet. Error replies come out as `ResponseError` values, pushes as
    `Push`. `gets` raises UnicodeDecodeError for a reply that is not UTF-8, which it has then consumed, and anything
    else when the stream is broken for good: hand that to `broken`.
    """

    __slots__ = ("_reader", "feed", "gets", "has_partial")

    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            protocolError=ProtocolError,
            replyError=_error_value,
            encoding="utf-8",
            notEnoughData=INCOMPLETE,
        )
        # Bound methods of the C reader: the hot path calls them without a Python frame between.
        self.feed: Callable[[bytes], None] = self._reader.feed
        self.gets: Callable[[bool], Any] = self._reader.gets
        self.has_partial: Callable[[], bool] = self._reader.has_data

    @staticmethod
    def broken(error: Exception) -> ProtocolError:
        """Return the error that tells every caller why the stream is finished."""
        if isinstance(error, TypeError):
            return ProtocolError("the server sent a map with a key that Python cannot hash; the connection was dropped")
        return ProtocolError(f"the server sent something that is not RESP ({error}); the connection was dropped")


def _error_value(message: str | bytes) -> ResponseError:
    return response_error(message if isinstance(message, str) else message.decode("utf-8", "replace"))
