"""What a handler in a child process may call: tell the worker how far it is.

Invariant: outside of a child there is nobody to tell, and that is an error and not a silence.
"""

import os
import threading
from contextvars import ContextVar
from socket import socket
from typing import Final

from gotaskq.executors.process.pipe import (
    LENGTH,
    MAX_TEXT_BYTES,
    Frame,
    Progress,
    ToChild,
    clip,
    decode_to_child,
    encode,
)


def progress(fraction: float, note: str = "") -> None:
    """Tell the worker how far this job is, from 0 to 1; call it from the handler's own thread."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"progress {fraction!r} must be from 0 to 1")
    line = LINE.get(None)
    if line is None:
        raise RuntimeError('progress() works in a handler registered with executor="process", in its own thread')
    line.send(Progress(fraction, clip(note, MAX_TEXT_BYTES)))


class Line:
    """The child's end of the pipe; any thread may send, only the main thread receives.

    A process forked off by a handler has this line too: it must neither be heard nor take jobs.
    """

    def __init__(self, end: socket) -> None:
        self._end = end
        self._received = end.makefile("rb")
        self._sending = threading.Lock()
        self._pid = os.getpid()

    def fileno(self) -> int:
        """Return the descriptor, to wait for the worker's end."""
        return self._end.fileno()

    def send(self, frame: Frame) -> None:
        """Send a frame; raises OSError when the worker is gone."""
        if os.getpid() == self._pid:
            with self._sending:
                self._end.sendall(encode(frame))

    def receive(self) -> ToChild | None:
        """Wait for the next frame; None when the worker has closed its end."""
        if os.getpid() != self._pid:
            return None
        length = self._received.read(LENGTH.size)
        if len(length) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack(length)
        body = self._received.read(size)
        return decode_to_child(body) if len(body) == size else None


LINE: Final[ContextVar[Line]] = ContextVar("gotaskq-line")
