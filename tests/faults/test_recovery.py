"""The check of recoveries: it names a job that a fault held up for too long, and no other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.handlers import Run
from tests.faults.history import History
from tests.faults.proxy import Loss
from tests.faults.recovery import Fault, late, recovery_s, repeated_late

JOB = 3
HOLDER, OTHER = 71, 72
OVER_S = 10.0


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "history.jsonl")
    yield history
    history.close()


def held_run(*, ended_s: float | None = None) -> Run:
    return Run(JOB, 1, "t1", HOLDER, "slow", 9.0, 9_000, ended_s=ended_s)


def next_run(started_s: float) -> Run:
    return Run(JOB, 2, "t2", OTHER, "slow", started_s, int(started_s * 1000))


@pytest.mark.parametrize(
    ("ended_s", "again_s", "is_late"),
    [
        (None, 12.0, False),
        (None, 12.1, True),
        (99.0, 12.1, True),  # it stood still, and ran on when nobody waited for it any more
        (9.5, 12.1, False),  # it had ended: what came next was a retry
    ],
)
def test_a_job_whose_holder_was_lost_must_run_again_in_time(
    history: History, ended_s: float | None, again_s: float, is_late: bool
) -> None:
    fault = Fault(OVER_S, within_s=2.0, holder=HOLDER)

    found = late(history, [held_run(ended_s=ended_s), next_run(again_s)], [fault])

    said = "I11: job 3 went on 2.1 s after process 71 lost it; 2.0 s are enough"
    assert found == ([said] if is_late else [])


@pytest.mark.parametrize(
    ("runs", "is_late"),
    [
        ([held_run(), next_run(12.0)], False),
        ([held_run(), next_run(12.1)], True),
        ([held_run(ended_s=11.0), next_run(99.0)], False),  # its run went on through the outage
        ([held_run(ended_s=12.1)], True),
        ([held_run(ended_s=9.5), next_run(99.0)], False),  # it did not run when the outage was over
        ([held_run()], False),  # whether it goes on at all is I1's
    ],
)
def test_a_job_that_ran_through_an_outage_must_go_on_in_time(history: History, runs: list[Run], is_late: bool) -> None:
    found = late(history, runs, [Fault(OVER_S, within_s=2.0)])

    assert found == (["I11: job 3 went on 2.1 s after the outage; 2.0 s are enough"] if is_late else [])


@pytest.mark.parametrize(
    ("first_s", "is_late"),
    [
        (12.0, False),
        (12.1, True),
    ],
)
def test_of_the_jobs_that_waited_through_an_outage_one_must_start_in_time(
    history: History, first_s: float, is_late: bool
) -> None:
    history.accepted_s |= {1: 9.0, 2: 9.0, 4: 10.5}
    runs = [replace(next_run(at_s), job_id=job_id) for job_id, at_s in ((4, 11.0), (1, first_s), (2, 99.0))]

    found = late(history, runs, [Fault(OVER_S, within_s=2.0)])

    said = "I11: the first job that waited went on 2.1 s after the outage; 2.0 s are enough"
    assert found == ([said] if is_late else [])


@pytest.mark.parametrize(("again_s", "is_late"), [(None, False), (18.0, False), (18.1, True)])
def test_a_lost_call_must_be_sent_again_in_time(again_s: float | None, is_late: bool) -> None:
    loss = Loss("reply", "settle", 1, at_s=OVER_S, again_s=again_s)

    found = repeated_late([loss])

    said = "I11: settle was called again 8.1 s after its reply was lost; 8.0 s are enough"
    assert found == ([said] if is_late else [])


def test_a_recovery_that_comes_by_chance_after_a_minute_is_no_recovery() -> None:
    assert recovery_s(1.0, was_store_away=False) < recovery_s(1.0, was_store_away=True) < 20.0
