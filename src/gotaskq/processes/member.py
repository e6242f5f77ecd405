"""A process that is one of several: its number, the folder it shares with its siblings, its line to the supervisor.

The line is one end of a socket pair. Up it goes, once, that the process is ready; down it comes that it should
fetch no more jobs, or hurry to end. That the line is cut means that the supervisor is gone, and a process that nobody
would restart or stop ends too.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

HURRY: Final = b"h"
QUIET: Final = b"q"


@dataclass(frozen=True, slots=True)
class Member:
    """What a process must know to be one of several; travels as text on its command line."""

    number: int
    line: int  # a file descriptor it inherits
    folder: Path  # private to these processes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; raises ValueError."""
        number, line, folder = text.split(":", 2)
        return cls(int(number), int(line), Path(folder))

    def __str__(self) -> str:
        """Return the member as the text that `parse` reads."""
        return f"{self.number}:{self.line}:{self.folder}"


class Lifeline:
    """A member's end of its line to the supervisor."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # or a handler's child process would keep the line open
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)

    def tell_ready(self, greeting: str) -> None:
        """Say that this process serves, and in which words to say so to the operator."""
        self._socket.send(json.dumps({"greeting": greeting}).encode() + b"\n")

    def heed(self, *, drain: Callable[[], None], hurry: Callable[[], None], quiet: Callable[[], None]) -> None:
        """Call `hurry` or `quiet` when the supervisor says so, `drain` when it is gone."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            word = self._socket.recv(1)
            if word == HURRY:
                hurry()
            elif word == QUIET:
                quiet()
            else:
                loop.remove_reader(self._socket)
                drain()

        loop.add_reader(self._socket, read)

    def close(self) -> None:
        """Let go of the line."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
