"""Slots for unit tests: without a worker, in tasks that only count how often they are cancelled."""

from typing import cast

from tests.unit.engine.jobs import NoReports

from gotaskq.context import RUNNING_JOB, Context
from gotaskq.engine.slot import Slot
from gotaskq.job import Job


class Pressed:
    """Stands for a slot's task."""

    def __init__(self) -> None:
        self.times = 0

    def cancel(self) -> bool:
        self.times += 1
        return True

    def cancelling(self) -> int:
        return self.times


def slot_with(job: Job | None) -> Slot:
    """Return a slot in which an attempt of this job runs."""
    slot = Slot(NoReports())
    slot.job = job
    slot.task = Pressed()  # type: ignore[assignment]  # the slot does no more with its task than this
    return slot


def presses(slot: Slot) -> int:
    """Return how often the slot was cancelled."""
    return cast("Pressed", slot.task).times


def context_of(slot: Slot, job: Job) -> Context | None:
    """Ask for the context as the code of this job's attempt does."""
    token = RUNNING_JOB.set(job)
    try:
        return slot.context()
    finally:
        RUNNING_JOB.reset(token)
