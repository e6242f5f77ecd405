"""The network between us and the store cuts, swallows, delays and drips: slower, and nothing else."""

from collections.abc import Callable

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import Soon
from tests.faults.proxy import DRIP, FAIR, Weather
from tests.faults.world import PLAIN, World, eventually, let_pass

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STORM_S = 2.0


def test_a_blackhole_is_answered_with_503_and_forgotten_when_it_heals(world: World) -> None:
    api, worker = world.api(by_proxy=True), world.worker(by_proxy=True)
    world.warm_up()
    world.post_many(api, 20, "slow", payload={"ms": 200})

    world.proxy.blackhole()
    refused = api.post("/jobs", b'{"type":"noop","payload":{"key":"in the hole"}}')
    worker.wait_for_line("extended")
    world.proxy.heal()
    world.note_end()
    eventually(lambda: world.post(api))
    world.drain()

    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    store = world.check(Allow(overlap=True, strangers=True))
    assert store.by_status()["DONE"] == len(store.jobs())


def test_the_job_of_a_worker_that_is_cut_off_runs_elsewhere_and_is_completed_once(world: World) -> None:
    api, cut_off = world.api(), world.worker(by_proxy=True)
    world.warm_up(spares=[PLAIN])
    [job_id] = world.post_many(api, 1, "slow", payload={"ms": 1_500})
    eventually(lambda: job_id in world.log.running())

    world.proxy.blackhole()
    world.worker()
    world.note_loss(cut_off)
    world.drain()
    before = world.store().jobs()[job_id]
    world.proxy.heal()
    cut_off.wait_for_line("lease_lost")
    again = world.post_many(api, 20)
    world.drain()

    store = world.check(Allow(overlap=True))
    assert store.jobs()[job_id] == before
    assert (before.status, before.count("at"), before.count("cr")) == ("DONE", 2, 1)
    assert {store.jobs()[job_id].status for job_id in again} == {"DONE"}


def kill_clients(world: World) -> None:
    with world.redis.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal")


@pytest.mark.parametrize("kind", ["resets", "cuts", "kills"])
def test_connections_that_end_all_the_time(world: World, kind: str) -> None:
    api, worker = world.api(by_proxy=True), world.worker(by_proxy=True)
    world.warm_up()
    ends: dict[str, Callable[[], object]] = {
        "resets": world.proxy.reset,
        "cuts": lambda: world.proxy.cut_after(300),
        "kills": lambda: kill_clients(world),
    }

    with world.posting(lambda: api, clients=2):
        for _ in range(int(STORM_S / 0.05)):
            ends[kind]()
            let_pass(0.05)
    world.note_end()
    eventually(lambda: world.post(api))
    world.drain()

    assert api.is_running
    assert worker.is_running
    assert len(world.history.accepted) > 10, world.history.text()
    world.check(Allow(overlap=True))


@pytest.mark.parametrize(
    "weather", [DRIP, Weather(latency_s=0.05, jitter_s=0.05), Weather(piece_bytes=512, pause_s=0.005)], ids=str
)
async def test_slow_links(world: World, soon: Soon, weather: Weather) -> None:
    async with world.app(lease_ms=5_000) as app:
        world.proxy.weather(weather)

        await world.enqueue_many(app, 5)
        async with app.workers(concurrency=4):
            await soon(world.is_drained)
        world.proxy.weather(FAIR)

    store = world.check()
    assert (store.count("done"), store.count("crash")) == (5, 0)
