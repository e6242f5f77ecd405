"""Slots for unit tests, without a worker: in tasks that only count how often they are cancelled, or of one attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from tests.unit.engine.jobs import NoReports, running

from gotaskq.context import RUNNING_JOB, SEAT, Context
from gotaskq.engine.attempt import SUCCEEDED, begin_attempt
from gotaskq.engine.slot import Slot
from gotaskq.job import Job
from gotaskq.outcome import Outcome

JOB = running()


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


def begin(slot: Slot, call: Callable[[Job], Awaitable[object]]) -> "asyncio.Task[Outcome]":
    """Run an attempt in the slot's own task, and then show that the task can wait again."""

    async def attempt() -> Outcome:
        SEAT.set(slot)
        begun = begin_attempt(call, JOB, slot)
        outcome: Outcome = SUCCEEDED if begun is None else await begun
        await asyncio.sleep(0)
        return outcome

    task = asyncio.create_task(attempt())
    slot.task = task  # type: ignore[assignment]  # a worker's slots return nothing; this one tells the outcome
    return task


async def hang(job: Job) -> None:
    await asyncio.Event().wait()
