"""The child's end of the pipe, and where its handlers' reports go."""

import os
import threading
from _thread import start_new_thread
from socket import socket

from gotaskq.context import RUNNING_JOB, Context
from gotaskq.executors.process.pipe import (
    LENGTH,
    Extended,
    Frame,
    Progress,
    Saved,
    ToChild,
    decode_to_child,
    encode,
)
from gotaskq.job import Job


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


class ChildSeat:
    """Where the child's one attempt at a time runs; what its handler reports goes to the worker."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._context: Context | None = None

    def begin(self, job: Job) -> Context:
        """Make the context of a new attempt, whose code is whatever begins in this context of Python's."""
        RUNNING_JOB.set(job)
        self._context = Context(job, self)
        return self._context

    def end(self) -> None:
        """Note that the attempt has ended."""
        self._context = None

    def context(self) -> Context | None:
        """Return the context of the attempt that the calling code belongs to; None when another runs here by now."""
        context = self._context
        return None if context is None or RUNNING_JOB.get(None) is not context.job else context

    def ask_to_end(self) -> None:
        """Tell the handler that runs that its attempt is to end; for a signal handler, so without taking a lock."""
        if self._context is not None:
            start_new_thread(self._context.ask_to_end, ())  # what the signal interrupted may hold the lock it takes

    def report_progress(self, _: Job, fraction: float, note: str) -> None:
        """Tell how far the job is."""
        self._line.send(Progress(fraction, note))

    def report_checkpoint(self, _: Job, state_json: bytes) -> None:
        """Hand a state over for the next attempt."""
        self._line.send(Saved(state_json))

    def extend(self, _: Job, timeout_s: float) -> None:
        """Ask for more time."""
        self._line.send(Extended(timeout_s))
