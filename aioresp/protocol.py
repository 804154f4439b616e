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

    `feed(data, partial)` takes bytes; while `has_data()`, `gets(decode)` returns the next reply, or `INCOMPLETE`. Error
    replies come out as `ResponseError` values, pushes as `Push`. `gets` raises UnicodeDecodeError for a reply that is
    not UTF-8, which it has then consumed, and anything else when the stream is broken for good: hand that to `broken`.

    A map costs hiredis twice the time of a list of its keys and values. So where a reply begins with the header of a
    map, it is given that of a list, and the dict is made from the list.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            protocolError=ProtocolError,
            replyError=_error_value,
            encoding="utf-8",
            notEnoughData=INCOMPLETE,
        )
        # Bound methods of the C reader: the hot path calls them without a Python frame between. Only while there are
        # maps about, or what looks like one, the methods below take their place.
        self.gets: Callable[[bool], Any] = self._reader.gets
        self.has_data: Callable[[], bool] = self._reader.has_data
        self._wary = False
        self._held = b""  # bytes that may hold the header of a map, and were given to the reader up to `_position`
        self._position = 0
        self._between = True  # what was given to the reader ends with a reply
        self._in_map = False  # the reply that comes next began as a map

    @property
    def wary(self) -> bool:
        """Whether there are maps about: `gets` must then not be called without asking `has_data` before."""
        return self._wary

    def feed(self, data: bytes, partial: bool) -> None:
        """Take bytes; `partial` tells whether those before them may have ended within a reply."""
        if self._wary:
            self._held = self._held[self._position :] + data
            self._position = 0
        elif b"%" in data:
            self._held, self._position, self._between = data, 0, not partial
            self._wary = True
            self.gets = self._gets_around_maps
            self.has_data = self._has_data_or_held
        else:
            self._reader.feed(data)

    def _has_data_or_held(self) -> bool:
        return self._position < len(self._held) or self._reader.has_data()

    def _gets_around_maps(self, decode: bool) -> Any:
        """Return the next reply, giving the reader no more bytes at a time than up to what may be a map's header."""
        while True:
            if self._between and not self._change_header():
                return INCOMPLETE
            in_map = self._in_map
            self._in_map = False  # also if the reply, which is consumed then, cannot be decoded
            try:
                reply = self._reader.gets(decode)
            except UnicodeDecodeError:
                self._between = not self._reader.has_data()
                raise
            if reply is not INCOMPLETE:
                self._between = not self._reader.has_data()
                if in_map:
                    items = iter(reply)
                    reply = dict(zip(items, items, strict=True))
                self._leave_if_done()
                return reply
            self._in_map = in_map
            if self._position == len(self._held):
                self._leave_if_done()
                return INCOMPLETE
            self._give()

    def _give(self) -> None:
        end = self._find_header()
        self._reader.feed(self._held, self._position, end - self._position)
        self._position = end
        self._between = False

    def _find_header(self) -> int:
        """Return where the next header of a map may begin, at the earliest, or the end of the bytes."""
        held = self._held
        found = self._position + 1
        # To look for one byte takes a fiftieth of the time of looking for three, unless the data is full of it.
        for _ in range(8):
            found = held.find(b"%", found + 1)
            if found < 0:
                return len(held)
            if held[found - 2 : found] == b"\r\n":
                return found
        found = held.find(b"\r\n%", found - 1)
        return len(held) if found < 0 else found + 2

    def _change_header(self) -> bool:
        """Between two replies, give the reader the next bytes; return False if there is but a piece of a header."""
        if self._held[self._position : self._position + 1] != b"%":
            self._give()
            return True
        end = self._held.find(b"\r\n", self._position)
        if end < 0:
            return False
        count = self._held[self._position + 1 : end]
        if not count.isdigit():
            self._give()  # the reader knows what to say
            return True
        self._reader.feed(b"*%d\r\n" % (2 * int(count)))
        self._position = end + 2
        self._between = False
        self._in_map = True
        return True

    def _leave_if_done(self) -> None:
        if self._position == len(self._held) and not self._in_map:
            self._wary = False
            self.gets = self._reader.gets
            self.has_data = self._reader.has_data
            self._held, self._position = b"", 0

    @staticmethod
    def broken(error: Exception) -> ProtocolError:
        """Return the error that tells every caller why the stream is finished."""
        if isinstance(error, TypeError):
            return ProtocolError("the server sent a map with a key that Python cannot hash; the connection was dropped")
        return ProtocolError(f"the server sent something that is not RESP ({error}); the connection was dropped")


def _error_value(message: str | bytes) -> ResponseError:
    return response_error(message if isinstance(message, str) else message.decode("utf-8", "replace"))
