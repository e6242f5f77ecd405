"""What a handler may ask and say while it runs, wherever that is: on the loop, in a thread, in a child process.

The engine and the child process each give an attempt its Context; `current_context` finds it.
Invariant: code that outlives its attempt finds no context, and never that of the job that runs there now.
"""

import logging
import math
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

from gotaskq.errors import InvalidRequestError, NoAttemptError
from gotaskq.failure import clip
from gotaskq.job import Job
from gotaskq.payload import encode_payload
from gotaskq.trail import MAX_NOTE_BYTES, MAX_STATE_BYTES

logger: Final = logging.getLogger("gotaskq.handler")


class _Injected:
    """The class of INJECTED."""

    def __repr__(self) -> str:
        return "INJECTED"


# The default of a parameter that a resource is for: with it, type checkers do not ask for the argument at an enqueue.
INJECTED: Final[Any] = _Injected()


class TakesReports(Protocol):
    """Who hears what handlers say; called from any thread."""

    def report_progress(self, job: Job, fraction: float, note: str) -> None:
        """Hear how far a job is."""
        ...

    def report_checkpoint(self, job: Job, state_json: bytes) -> None:
        """Take a state to begin the next attempt with."""
        ...

    def extend(self, job: Job, timeout_s: float) -> None:
        """Let a job run for so long from now."""
        ...


class Seat(Protocol):
    """A place where one attempt at a time runs."""

    def context(self) -> "Context | None":
        """Return the context of the attempt that the calling code belongs to, while it runs here."""
        ...


SEAT: Final[ContextVar[Seat]] = ContextVar("gotaskq-seat")
RESOURCES: Final[ContextVar[Mapping[type, object]]] = ContextVar("gotaskq-resources")  # what the worker has opened
RUNNING_JOB: Final[ContextVar[Job]] = ContextVar("gotaskq-running-job")  # tells the code of one attempt from the next's


class Context:
    """One attempt, as its handler sees it; every method may be called from any thread, and none waits."""

    __slots__ = ("_asked", "_has_seen", "_reports", "job")

    def __init__(self, job: Job, reports: TakesReports, *, is_cancelled: bool = False) -> None:
        self.job = job
        self._reports = reports
        self._asked = threading.Event()
        self._has_seen = False
        if is_cancelled:
            self._asked.set()

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.job.attempt

    @property
    def headers(self) -> dict[str, str]:
        """The headers that came with the job."""
        return self.job.headers

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose lines carry the job's id, type, queue and attempt."""
        job = self.job
        about = {"job_id": str(job.id), "type": job.type, "queue": job.queue, "attempt": job.attempt}
        return logging.LoggerAdapter(logger, about)

    @property
    def is_cancelled(self) -> bool:
        """Whether this attempt is to end: cancelled, timed out, or its worker shuts down.

        A handler that has seen it and returns None has stopped: the job is not DONE.
        """
        is_asked = self._asked.is_set()
        self._has_seen |= is_asked
        return is_asked

    def wait_for_cancel(self, timeout_s: float) -> bool:
        """Wait in this thread until the attempt is to end, or for so long; say whether it is. Not for `async def`."""
        is_asked = self._asked.wait(timeout_s)
        self._has_seen |= is_asked
        return is_asked

    def progress(self, fraction: float, note: str = "") -> None:
        """Say how far the job is, from 0 to 1; shown with the job within a second. Raises ValueError."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress is {fraction!r}; it must be from 0 to 1")
        self._reports.report_progress(self.job, float(fraction), clip(note, MAX_NOTE_BYTES))

    def checkpoint(self, state: Any) -> None:
        """Leave a state for the next attempt, which finds it as `ctx.job.checkpoint`; the latest counts.

        It is stored within a second, and before the end of this attempt is. Raises ValueError for what is no JSON or
        longer than 64 KiB as such.
        """
        self.checkpoint_json(_as_json(state))

    def checkpoint_json(self, state_json: bytes) -> None:
        """Do what `checkpoint` does with a state that is JSON already; its bytes are kept as they are."""
        self._reports.report_checkpoint(self.job, _bounded(state_json))

    def extend(self, timeout_s: float) -> None:
        """Let this attempt run for `timeout_s` seconds from now, whatever its timeout was. Raises ValueError."""
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise ValueError(f"timeout_s is {timeout_s!r}; it must be more than 0 seconds")
        self._reports.extend(self.job, float(timeout_s))

    def ask_to_end(self) -> None:
        """Tell the handler that its attempt is to end."""
        self._asked.set()

    @property
    def has_seen_cancel(self) -> bool:
        """Whether the handler was told that its attempt is to end."""
        return self._has_seen


def current_context() -> Context:
    """Return the context of the attempt this code runs in; raises NoAttemptError outside of one, or after its end."""
    seat = SEAT.get(None)
    context = None if seat is None else seat.context()
    if context is None:
        raise NoAttemptError
    return context


def _as_json(state: object) -> bytes:
    try:
        return encode_payload(state)
    except InvalidRequestError as error:
        raise ValueError(f"the checkpoint cannot be kept: {error}") from error


def _bounded(state_json: bytes) -> bytes:
    if len(state_json) > MAX_STATE_BYTES:
        raise ValueError(
            f"the checkpoint has {len(state_json)} bytes as JSON; at most {MAX_STATE_BYTES} are kept: "
            f"store it elsewhere and keep where it is"
        )
    return state_json
