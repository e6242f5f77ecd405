"""Running an overridden app's jobs from a test: drain what is due, let time pass, lose a worker.

Everything here works inside `async with app.override():`, and raises GotaskqError outside of it.
"""

import contextlib
from collections.abc import Iterator

from gotaskq.app import TaskQ
from gotaskq.errors import EndlessJobsError
from gotaskq.job import Job, Status
from gotaskq.outcome import Complete, DeadLetter
from gotaskq.stand_in import MAX_ATTEMPTS, StandingClock, error_of


async def drain(
    app: TaskQ, *, raise_errors: bool = True, with_scheduled: bool = False, max_attempts: int = MAX_ATTEMPTS
) -> dict[str, int]:
    """Run every due job, and those that follow from it, one after the other; no real time passes between them.

    Return how many jobs are `done` and `dead` by this call, and how many wait (`pending`) after it. The first error of
    a handler is raised once its job is settled, unless `raise_errors` is False. With `with_scheduled`, time passes
    until delayed jobs and retries have run, too. Raises EndlessJobsError beyond `max_attempts`.
    """
    stand_in = app.stand_in
    counts = {"done": 0, "dead": 0, "pending": 0}
    for job in await stand_in.stepper.take_back():
        counts["dead"] += job.status is Status.DEAD
    attempts = 0
    while (stepped := await stand_in.step()) or (with_scheduled and await stand_in.skip_to_next_due()):
        if stepped is None:
            continue
        attempts += 1
        if attempts > max_attempts:
            raise EndlessJobsError(max_attempts)
        error = error_of(stepped)
        if raise_errors and error is not None:
            raise error
        counts["done"] += isinstance(stepped.settlement, Complete)
        counts["dead"] += isinstance(stepped.settlement, DeadLetter)
    counts["pending"] = sum(queue.depth for queue in (await app.queues()).values())
    return counts


@contextlib.contextmanager
def frozen_clock(app: TaskQ) -> Iterator[StandingClock]:
    """Give the time of an overridden app into the test's hand: it stands still, and moves by `tick(seconds=5)`.

    What has become due by a tick, be it a delay, a backoff or a lease, is seen to by the next `drain`.
    """
    yield app.stand_in.clock


async def lose_worker(app: TaskQ) -> Job:
    """Let a worker take the next due job and vanish; the job comes back once its lease has run out."""
    job = await app.stand_in.stepper.take()
    if job is None:
        raise AssertionError("no job is due that a worker could be lost with; enqueue one first, or tick")
    return job
