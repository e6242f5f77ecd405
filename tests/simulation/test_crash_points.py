"""A worker dies at each point where it matters, with each way an attempt can end: the job ends as it would have."""

import asyncio
from random import Random
from typing import Any

import pytest

from gotaskq import Job, Settings, Status, TaskQ
from gotaskq.testing.simulation import SimProcess
from gotaskq.testing.simulation.faults import Plan
from gotaskq.testing.simulation.network import Moment
from gotaskq.testing.simulation.store import Call, at_once, memory_store
from gotaskq.testing.simulation.world import Cast, World

LEASE_S = 3.0
RUNS_S = 2.0  # for longer than it takes the heartbeat to come by
CALM = Plan(rates=(), blows=(), blow_every_s=1.0, is_shuffled=True)
SETTINGS = Settings(num_workers=1, lease_ms=round(LEASE_S * 1000), shutdown_timeout_ms=500)

CALLS = {
    "after-reserve": (Moment.ANSWERED, "reserve"),
    "before-settle-send": (Moment.SENT, "settle"),
    "after-settle-send": (Moment.CARRIED_OUT, "settle"),
    "after-settle-reply": (Moment.ANSWERED, "settle"),
    "before-extend-send": (Moment.SENT, "extend"),
    "after-extend": (Moment.ANSWERED, "extend"),
}
POINTS = [*CALLS, "mid-handler", "during-drain"]
SETTLED = {"after-settle-send", "after-settle-reply"}  # there, nothing is lost but the news

# outcome → how the job ends, with how many retries and releases
OUTCOMES = {
    "success": (Status.DONE, 0, 0),
    "fail-with-retry": (Status.DONE, 1, 0),
    "fail-without-retry": (Status.DEAD, 0, 0),
    "cancel": (Status.CANCELLED, 0, 0),
    "release": (Status.DONE, 0, 1),
}


class Scene:
    """One job, three workers, and the death of the first of them that comes to a point."""

    def __init__(self, point: str, outcome: str) -> None:
        self.point = point
        self.outcome = outcome
        self.starts: list[str] = []
        self.killed: list[str] = []
        self.world = World(Cast(self.make_app, self.ask, 3, 1, memory_store), seed=1, plan=CALM)
        self.world.network.taps.append(self.tap)

    def make_app(self, process: SimProcess) -> TaskQ:
        app = TaskQ(process.backend, settings=SETTINGS, clock=process.clock, rng=process.rng)

        @app.handler("work")
        async def work(job: Job) -> None:
            self.starts.append(process.name)
            if self.point == "mid-handler":
                await asyncio.sleep(0.3)
                await self.kill(process)
            if self.point == "during-drain" and not self.killed:
                process.stopping.set()
                self.world.loop.call_later(0.1, self.kill_now, process)
            await self.run_to_its_end(process, job)

        return app

    async def run_to_its_end(self, process: SimProcess, job: Job) -> None:
        await asyncio.sleep(RUNS_S)
        if self.outcome == "release" and not job.releases:
            process.stopping.set()
            await asyncio.sleep(60)
        if self.outcome == "fail-without-retry" or (self.outcome == "fail-with-retry" and job.retry_count == 0):
            raise ConnectionError("no luck")
        if self.outcome == "cancel":
            await asyncio.sleep(60)

    async def ask(self, app: TaskQ, rng: Random) -> None:
        self.job_id = (await app.enqueue("work", max_retries=0 if self.outcome == "fail-without-retry" else 1)).id
        if self.outcome == "cancel":
            await asyncio.sleep(0.5)
            await app.cancel(self.job_id)

    def tap(self, moment: Moment, process: SimProcess, call: Call[Any]) -> None:
        holders = [life.lease.holder for life in self.world.witness.store.lives.jobs.values() if life.lease is not None]
        has_job = process.name in holders or call.name == "settle"
        if has_job and CALLS.get(self.point) == (moment, call.name):
            self.kill_now(process)

    async def kill(self, process: SimProcess) -> None:
        self.kill_now(process)
        await asyncio.sleep(0)  # where the one who was killed stands for ever

    def kill_now(self, process: SimProcess) -> None:
        if not self.killed:
            self.killed.append(process.name)
            self.world.kill(process)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("point", POINTS)
def test_a_job_ends_well_wherever_its_worker_dies(point: str, outcome: str) -> None:
    scene = Scene(point, outcome)

    scene.world.run()

    assert scene.world.witness.violation is None, scene.world.history.tail()
    job = at_once(scene.world.store.backend.get(scene.job_id))
    assert job is not None
    assert len(scene.killed) == 1
    status, retries, releases = OUTCOMES[outcome]
    assert (job.status, job.retry_count, job.releases) == (status, retries, releases)
    assert job.crashes == (0 if point in SETTLED else 1)
    assert job.attempt + job.releases == scene.world.witness.store.lives.jobs[job.id].starts
    assert len(scene.starts) <= 1 + job.retry_count + job.crashes + job.releases


def test_nobody_dies_by_himself() -> None:
    scene = Scene("nowhere", "success")

    scene.world.run()

    assert (scene.killed, len(scene.starts)) == ([], 1)
