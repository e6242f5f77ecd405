"""Jobs that keep failing, on a real store: as many runs as they may have, and the waits between them."""

import pytest
from tests.faults.conftest import Soon
from tests.faults.world import World

from gotaskq import Job, NoRetry
from gotaskq.events import Event, JobRetryScheduled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BASE_MS, CAP_MS = 4, 64


@pytest.mark.parametrize(
    ("job_type", "max_retries", "runs", "reason"),
    [
        ("fail", 0, 1, "retries_exhausted"),
        ("fail", 8, 9, "retries_exhausted"),
        ("permanent", 8, 1, "no_retry"),
    ],
)
async def test_a_job_runs_exactly_as_often_as_it_may(
    world: World, soon: Soon, job_type: str, max_retries: int, runs: int, reason: str
) -> None:
    waits_ms: list[int] = []

    def note(event: Event) -> None:
        assert isinstance(event, JobRetryScheduled)
        waits_ms.append(event.delay_ms)

    async def fail_for_good(job: Job) -> None:
        world.log.note("start", job)
        raise ValueError("trying again does not help")

    async with world.app(base_delay_ms=BASE_MS, max_delay_ms=CAP_MS) as app:
        app.handler("permanent", retry=NoRetry())(fail_for_good)
        app.observe(note, [JobRetryScheduled])
        async with app.workers(concurrency=2):
            job = await world.enqueue(app, job_type, max_retries=max_retries)
            await soon(world.is_drained)

    assert job is not None
    dead = world.check().jobs()[job.id]
    assert (dead.status, dead.fields["dr"]) == ("DEAD", reason)
    assert (dead.count("at"), dead.count("rt"), len(world.log.runs())) == (runs, runs - 1, runs)
    least_ms = [min(BASE_MS << retry, CAP_MS) for retry in range(runs - 1)]
    assert all(least <= wait <= 1.4 * least for least, wait in zip(least_ms, waits_ms, strict=True))
    starts = [run.started_s for run in world.log.runs()]
    assert all(
        1000 * (later - earlier) >= wait for earlier, later, wait in zip(starts, starts[1:], waits_ms, strict=False)
    )
