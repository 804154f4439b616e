"""Packing of RESP commands: arguments into bytes, and back.

Owns the arguments that hiredis gets to pack, and offers the parser's names, too. Never touches a socket, never awaits,
never knows what a command means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import hiredis

from aioresp.arguments import BITS, encoded
from aioresp.wire.parser import Parser as Parser
from aioresp.wire.parser import Push as Push
from aioresp.wire.salvage import INCOMPLETE as INCOMPLETE

#: Arguments from this many bytes on travel as chunks of their own: hiredis copies 1 MiB in about a millisecond.
CHUNK: Final = 32 * 1024

Packed: TypeAlias = bytes | list[bytes]

_pack_command: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


def pack(arguments: tuple[Any, ...]) -> Packed:
    """Return a command as bytes, or as a list of chunks if one of its arguments is large.

    Raises ArgumentTypeError for an argument that is not str, bytes, bytearray, memoryview, int or float; bool is
    refused, too. Raises ArgumentError for a str without a UTF-8 form, an int of more than 2048 bits and a released
    memoryview. Both name the command and the position.
    """
    # hiredis gets exact types only, because it trusts the methods of subclasses. If one of them, or the conversion of a
    # huge int, raises an error, hiredis ends the process. `__class__` may lie, so `type` is asked.
    count = len(arguments)
    try:
        # Most commands have a key, or a key and a text, and are checked without a loop.
        if count == 2:
            if type(arguments[1]) is str and type(arguments[0]) is str:
                return _pack_command(arguments)
        elif count == 3:
            name, key, value = arguments
            if type(value) is str and type(key) is str and type(name) is str and len(value) <= CHUNK:
                return _pack_command(arguments)
        elif count > 16 and _is_short_text(arguments):
            return _pack_command(arguments)
        for argument in arguments:
            kind = type(argument)
            if kind is str or kind is bytes:
                if len(argument) > CHUNK:
                    return _pack_chunks(arguments)
            elif kind is int:
                if argument.bit_length() > BITS:
                    return _pack_chunks(arguments)
            elif kind is not float:
                return _pack_chunks(arguments)
        return _pack_command(arguments)
    except UnicodeEncodeError:
        pass  # handled below: an error raised here would have this one as its context, which shows the text
    return _pack_chunks(arguments)


def _is_short_text(arguments: tuple[Any, ...]) -> bool:
    """Return whether all arguments are str and short: joining them tells so faster than a loop."""
    try:
        return len("".join(arguments)) <= CHUNK
    except TypeError:
        return False


def _pack_chunks(arguments: tuple[Any, ...]) -> Packed:
    """Pack arguments that hiredis packs slowly, wrongly (views with strides) or not at all, or refuse them by name."""
    head = b"*%d\r\n" % len(arguments)
    chunks: list[bytes] = []
    for data in encoded(arguments):
        if len(data) > CHUNK:
            chunks += (head + b"$%d\r\n" % len(data), data)
            head = b"\r\n"
        else:
            head += b"$%d\r\n" % len(data) + data + b"\r\n"
    if not chunks:
        return head
    chunks.append(head)
    return chunks


def split(data: bytes) -> Iterator[list[bytes]]:
    """Yield the arguments of each of several packed commands."""
    reader = hiredis.Reader()
    reader.feed(data)
    while (arguments := reader.gets()) is not False:
        yield arguments


def unpack(packed: Packed) -> list[bytes]:
    """Return the arguments of a packed command. Large ones are not copied."""
    if isinstance(packed, bytes):
        reader = hiredis.Reader()
        reader.feed(packed)
        arguments: list[bytes] = reader.gets()
        return arguments
    arguments = []
    after_large = False
    for chunk in packed:
        if after_large:
            arguments.append(chunk)
            after_large = False
            continue
        position = chunk.index(b"\r\n") + 2  # the number of arguments, or the end of a large one
        while position < len(chunk):
            start = chunk.index(b"\r\n", position) + 2
            end = start + int(chunk[position + 1 : start - 2])
            position = end + 2
            if start < len(chunk):
                arguments.append(chunk[start:end])
            else:
                after_large = True
    return arguments
