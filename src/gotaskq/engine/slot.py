"""A slot: one place to run attempts; the worker has as many as its concurrency.

A slot is one long-lived task, and handlers run inside it: no task is made per job, `asyncio.timeout` and friends work
as in any task, and stopping one attempt is cancelling its slot with the reason noted beside it.
"""

import asyncio

from gotaskq.job import Job
from gotaskq.outcome import Cancelled, Interrupted


class Slot:
    """What runs here now, and why it was stopped, if it was."""

    __slots__ = ("held", "is_abandoned", "is_closing", "job", "stopped_by", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.job: Job | None = None  # set exactly while the handler runs
        self.held: Job | None = None  # set from when it is taken until the settler has it: its lease is to be kept
        self.stopped_by: Interrupted | Cancelled | None = None
        self.is_abandoned = False  # its job was given back, though the handler still runs: what that brings is too late
        self.is_closing = False  # tells the end of the slot from a handler that cancelled its own task

    @property
    def is_stopping(self) -> bool:
        """Whether a cancellation is outstanding: ours, or one the handler asked for itself."""
        return self.stopped_by is not None or (self.task is not None and self.task.cancelling() > 0)

    def stop(self, reason: Interrupted | Cancelled) -> None:
        """Cancel the running attempt, once; its outcome will be `reason` unless the handler finishes all the same."""
        if self.job is not None and self.task is not None and self.stopped_by is None:
            self.stopped_by = reason
            self.task.cancel()

    def close(self) -> None:
        """End the slot; a handler that would not end is left to itself."""
        self.is_closing = True
        if self.task is not None:
            self.task.cancel()
