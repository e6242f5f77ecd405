"""Fingerprints: which deaths are alike."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gotaskq import TaskQ
from gotaskq.fingerprint import death_of
from gotaskq.job import DeathReason, Job
from gotaskq.trail import Attempt, Trail

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/tasks.py", line {line}, in send
    deliver(to)
  File "{folder}/mail.py", line {line}, in deliver
    raise ValueError
ValueError: {what}
"""


@dataclass
class Died:
    error: str = "ValueError: no such address a@b.c"
    folder: str = "/srv/app"
    line: int = 7
    job_type: str = "email"
    reason: DeathReason = DeathReason.RETRIES_EXHAUSTED
    traceback: str = TRACEBACK


@pytest.fixture
async def job() -> Job:
    async with TaskQ() as app:
        return await app.enqueue("email")


def died(job: Job, about: Died) -> Job:
    traceback = about.traceback.format(line=about.line, folder=about.folder, what=about.error)
    trail = Trail(attempts=(Attempt(1, 0, 1, "w", about.error, traceback),))
    return replace(job, type=about.job_type, error=about.error, death_reason=about.reason, trail=trail)


async def test_a_death_says_what_where_and_why(job: Job) -> None:
    death = death_of(died(job, Died()))

    assert (death.job_type, death.reason, death.error, death.place) == (
        "email",
        "retries_exhausted",
        "ValueError",
        "mail.py:deliver",
    )


@pytest.mark.parametrize(
    "other",
    [Died(error="ValueError: no such address x@y.z"), Died(line=8), Died(folder="/srv/app-2"), Died(folder="C:\\app")],
)
async def test_what_concerns_one_job_or_one_deployment_makes_no_difference(job: Job, other: Died) -> None:
    assert death_of(died(job, other)).fingerprint == death_of(died(job, Died())).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        Died(error="KeyError: 'a'"),
        Died(job_type="sms"),
        Died(reason=DeathReason.NO_RETRY),
        Died(traceback=TRACEBACK.replace("in deliver", "in connect")),
    ],
)
async def test_what_died_of_something_else_differs(job: Job, other: Died) -> None:
    assert death_of(died(job, other)).fingerprint != death_of(died(job, Died())).fingerprint


@pytest.mark.parametrize("error", ["", None, "not started within 5 ms of being due", "\x1b[31m"])
async def test_a_death_without_a_traceback_has_one_too(job: Job, error: str | None) -> None:
    death = death_of(replace(job, error=error, death_reason=DeathReason.EXPIRED))

    assert (death.place, len(death.fingerprint)) == ("", 16)
