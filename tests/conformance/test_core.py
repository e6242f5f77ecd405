"""The core of the contract can be kept without anything beyond it, and an app runs on that."""

import asyncio
from random import Random

from tests.conformance.core_store import DictBackend

from gotaskq import Job, Status, TaskQ
from gotaskq.backend import Backend
from gotaskq.clock import Clock, SystemClock
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.conformance import CoreBackendConformance


class TestCoreAlone(CoreBackendConformance):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        return DictBackend(limits, clock=clock, rng=rng)


async def test_an_app_runs_on_the_core_alone(rng: Random) -> None:
    clock = SystemClock()
    app = TaskQ(DictBackend(StoreLimits(), clock=clock, rng=rng), clock=clock)
    handled = asyncio.Event()

    @app.handler("email")
    async def send_email(job: Job) -> None:
        handled.set()

    async with app, app.workers(concurrency=2):
        job = await app.enqueue("email")
        await handled.wait()
        ended = await app.wait(job.id)

    assert ended.status is Status.DONE
