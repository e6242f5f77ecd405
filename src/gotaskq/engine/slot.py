"""A slot: one place to run attempts; the worker has as many as its concurrency.

A slot is one long-lived task, and handlers run inside it: no task is made per job, `asyncio.timeout` and friends work
as in any task, and stopping one attempt is cancelling its slot with the reason noted beside it.
"""

import asyncio
import threading
from typing import Final, TypeAlias

from gotaskq.context import RUNNING_JOB, Context, TakesReports
from gotaskq.job import Job
from gotaskq.outcome import Cancelled, Failed, Interrupted

Stopped: TypeAlias = Interrupted | Cancelled | Failed

_making: Final = threading.Lock()  # threads of this attempt, and of one before it, may ask for a context meanwhile


class Slot:
    """What runs here now, and why it was stopped, if it was."""

    __slots__ = (
        "_context",
        "_reports",
        "act_at_s",
        "deadline_s",
        "held",
        "is_abandoned",
        "is_closing",
        "job",
        "pressed",
        "stopped_by",
        "task",
        "timeout_s",
    )

    def __init__(self, reports: TakesReports) -> None:
        self._reports = reports
        self._context: Context | None = None
        self.task: asyncio.Task[None] | None = None
        self.job: Job | None = None  # set exactly while the handler runs
        self.held: Job | None = None  # set from when it is taken until the settler has it: its lease is to be kept
        self.stopped_by: Stopped | None = None
        self.timeout_s = 0.0  # what the attempt was given, for whoever tells that it was not enough
        self.deadline_s: float | None = None  # when its time is up, on the monotonic clock
        self.act_at_s: float | None = None  # the same, and then when the grace of one that was stopped is over
        self.pressed = 0  # how often its deadline has passed
        self.is_abandoned = False  # its job was given back, though the handler still runs: what that brings is too late
        self.is_closing = False  # tells the end of the slot from a handler that cancelled its own task

    @property
    def has_heeded(self) -> bool:
        """Whether the handler looked and was told that its attempt is to end."""
        context = self._context
        return context is not None and context.job is self.job and context.has_seen_cancel

    def context(self) -> Context | None:
        """Return the context of the attempt that the calling code belongs to; None when another runs here by now."""
        job = RUNNING_JOB.get(None)
        with _making:
            if job is None or job is not self.job:
                return None
            # A thread that outlived its attempt may have put that one's context here after its end.
            if self._context is None or self._context.job is not job:
                self._context = Context(job, self._reports, is_cancelled=self.stopped_by is not None)
            return self._context

    def stop(self, reason: Stopped) -> None:
        """Cancel the running attempt, once; its outcome will be `reason` unless the handler finishes all the same."""
        if self.job is not None and self.stopped_by is None:
            self.stopped_by = reason
            self.press()

    def press(self) -> None:
        """Cancel the attempt (again): at the second time an executor lets go of what it cannot stop."""
        if self.job is not None and self.task is not None:
            with _making:  # a thread that is making the context now must not miss this
                if self._context is not None and self._context.job is self.job:
                    self._context.ask_to_end()
            self.task.cancel()

    def end_attempt(self) -> bool:
        """Note that the handler has ended; say whether a cancellation is outstanding: ours, or one it asked for."""
        self.job = None
        self._context = None
        self.act_at_s = self.deadline_s = None
        self.pressed = 0
        return self.stopped_by is not None or (self.task is not None and self.task.cancelling() > 0)

    def close(self) -> None:
        """End the slot; a handler that would not end is left to itself."""
        self.is_closing = True
        if self.task is not None:
            self.task.cancel()
