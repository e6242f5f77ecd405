"""What users see who simulate an app of their own: it works with little, and mistakes are named."""

import asyncio
from random import Random

import pytest

from gotaskq import Job, Settings, TaskQ
from gotaskq.testing import Fault, SimProcess, Simulation
from gotaskq.testing.simulation import SimulationFailedError


def app_of(process: SimProcess) -> TaskQ:
    return TaskQ(process.backend, clock=process.clock, rng=process.rng, settings=Settings(lease_ms=5_000))


def test_an_app_needs_no_client_of_its_own() -> None:
    ran: set[str] = set()

    def make_app(process: SimProcess) -> TaskQ:
        app = app_of(process)

        @app.handler("mail")
        async def mail(job: Job) -> None:
            await asyncio.sleep(1)
            ran.add(process.name)

        return app

    summary = Simulation(make_app, seeds=range(20), workers=3).run()

    assert (summary.seeds, summary.jobs > 0) == (20, True)
    assert {"w1", "w2", "w3"} <= ran


def test_what_a_client_checks_fails_the_seed() -> None:
    def make_app(process: SimProcess) -> TaskQ:
        app = app_of(process)

        @app.handler("mail")
        async def mail(job: Job) -> None:
            pass

        return app

    async def client(app: TaskQ, rng: Random) -> None:
        job = await app.enqueue("mail")
        await asyncio.sleep(60)
        assert (await app.get(job.id)).attempt == 0, "it ran"

    with pytest.raises(SimulationFailedError, match="it ran"):
        Simulation(make_app, client=client, seeds=[1], faults=[]).run()


def test_faults_can_be_chosen() -> None:
    def make_app(process: SimProcess) -> TaskQ:
        app = app_of(process)

        @app.handler("mail")
        async def mail(job: Job) -> None:
            pass

        return app

    simulation = Simulation(make_app, seeds=range(10), faults=[Fault.KILL])

    kinds = {record.what for seed in range(10) for record in simulation.play(seed).history.records}

    assert "kill" in kinds
    assert not kinds & {fault.value for fault in Fault if fault is not Fault.KILL}


def test_a_handler_in_a_thread_is_refused() -> None:
    def make_app(process: SimProcess) -> TaskQ:
        app = app_of(process)

        @app.handler("mail")
        def mail(job: Job) -> None:
            pass

        return app

    with pytest.raises(SimulationFailedError, match="make the handler `async def`"):
        Simulation(make_app, seeds=[1]).run()


def test_an_app_with_a_store_of_its_own_is_refused() -> None:
    def make_app(process: SimProcess) -> TaskQ:
        app = TaskQ(clock=process.clock, rng=process.rng)

        @app.handler("mail")
        async def mail(job: Job) -> None:
            pass

        return app

    with pytest.raises(SimulationFailedError, match=r"make the app with `process\.backend`"):
        Simulation(make_app, seeds=[1], workers=0).run()
