"""RESP framing: where a command or a reply ends, and what a command says.

Used by the fault proxy, which forwards whole commands and whole replies so that it can stop between two of them.
"""

from collections.abc import Iterator
from typing import Final

LINE_END: Final = b"\r\n"
BULKS: Final = b"$=!"
AGGREGATES: Final = b"*~>"
MAP: Final = b"%"


class Frames:
    """Cuts a stream of bytes into whole RESP values, as they become whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more bytes and give the values that are whole now."""
        self._buffer += data
        while self._buffer:
            end = _end_of_value(self._buffer)
            if end is None:
                return
            frame = bytes(self._buffer[:end])
            del self._buffer[:end]
            yield frame


def arguments(command: bytes) -> list[bytes]:
    """Return the words of a command, which is an array of bulk strings; what else a client may send has none."""
    if not command.startswith(b"*"):
        return []
    at = command.index(LINE_END) + 2
    words = []
    while at < len(command):
        line_end = command.index(LINE_END, at)
        length = int(command[at + 1 : line_end])
        words.append(command[line_end + 2 : line_end + 2 + length])
        at = line_end + 2 + length + 2
    return words


def _end_of_value(buffer: bytearray) -> int | None:
    """Return where the first value of the buffer ends; None while it is not whole."""
    at, missing = 0, 1
    while missing:
        line_end = buffer.find(LINE_END, at)
        if line_end < 0:
            return None
        kind = buffer[at]
        missing -= 1
        if kind in BULKS:
            length = int(buffer[at + 1 : line_end])
            line_end += length + 2 if length >= 0 else 0
        elif kind in AGGREGATES:
            missing += max(0, int(buffer[at + 1 : line_end]))
        elif kind in MAP:
            missing += 2 * max(0, int(buffer[at + 1 : line_end]))
        at = line_end + 2
    return at if at <= len(buffer) else None
