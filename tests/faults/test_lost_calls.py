"""One call of one script is lost, or only its reply: the repeat does it once, and nothing is stranded."""

import asyncio
from random import Random

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import Soon
from tests.faults.proxy import FaultProxy, Loss
from tests.faults.world import PLAIN, SHORT_LEASE_MS, World

from gotaskq import Job
from gotaskq.backend import Enqueued, Extended, Note
from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import SystemClock
from gotaskq.errors import BackendUnavailableError
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.conformance.given import Jobs, given_running, lease_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.parametrize("part", ["call", "reply"]),
]


def lose(proxy: FaultProxy, part: str, script: str, *, nth: int = 1) -> Loss:
    return (proxy.lose_call if part == "call" else proxy.lose_reply)(script, nth=nth)


async def test_an_enqueue(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        loss = lose(world.proxy, part, "enqueue_one", nth=3)

        await world.enqueue_many(app, 10)
        async with app.workers(concurrency=4):
            await soon(world.is_drained)

    assert loss.happened.is_set()
    assert world.check().count("enq") == 10


async def test_a_batch(world: World, part: str) -> None:
    async with world.app() as app:
        loss = lose(world.proxy, part, "enqueue")

        jobs = await app.enqueue_many([app.job("noop", {"n": number}) for number in range(250)])

    assert loss.happened.is_set()
    store = world.check(Allow(strangers=True, unfinished=True))
    assert store.jobs().keys() == {job.id for job in jobs}


async def test_an_enqueue_with_keys(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        loss = lose(world.proxy, part, "enqueue")

        keyed = [await app.enqueue("noop", 1, idempotency_key="k", unique_key="u") for _ in range(2)]
        found = await app.enqueue("noop", 2, unique_key="u")
        async with app.workers(concurrency=2):
            await soon(world.is_drained)
        again = await app.enqueue("noop", 1, idempotency_key="k", unique_key="u")

    assert loss.happened.is_set()
    assert [job.was_there for job in (*keyed, found, again)] == [False, True, True, True]
    assert {job.id for job in (*keyed, found, again)} == {keyed[0].id}
    assert again.status.value == "DONE"
    assert world.check(Allow(strangers=True)).count("enq") == 1


async def test_an_enqueue_whose_repeat_finds_the_store_full(world: World, part: str) -> None:
    async with world.app() as app:
        await app.enqueue("noop")
        loss = lose(world.proxy, part, "enqueue_one")
        loss.then = lambda: world.redis.config_set("maxmemory", "1")

        with pytest.raises(BackendUnavailableError) as refused:
            await app.enqueue("noop")
        world.redis.config_set("maxmemory", "0")

    assert loss.happened.is_set()
    found = world.check(Allow(strangers=True, unfinished=True)).jobs()
    assert (refused.value.job_id in found) is (part == "reply")
    assert len(found) == (2 if part == "reply" else 1)


BATCH = 250  # three calls to the store
BATCH_CALL = 100
FOR_GOOD = 50  # more calls than are tried while a caller waits


@pytest.mark.parametrize("is_answered_at_first", [False, True])
@pytest.mark.parametrize("lines", [False, True], ids=["json", "lines"])
def test_a_batch_for_good(world: World, part: str, *, lines: bool, is_answered_at_first: bool) -> None:
    api = world.api(by_proxy=True)
    world.post_batch(api, BATCH, lines=lines)  # from now on the server knows the script, and the API has all it needs
    world.warm_up(spares=[PLAIN])
    warmed_up = set(world.history.accepted)
    first = 3 if is_answered_at_first else 1  # two calls are on their way at once
    losses = [lose(world.proxy, part, "enqueue", nth=nth) for nth in range(first, first + FOR_GOOD)]

    answer = world.post_batch(api, BATCH, lines=lines)

    stored, errors = [job["id"] for job in answer.json["jobs"]], answer.json["errors"]
    unknown = [error["id"] for error in errors if error["accepted"] == "unknown"]
    assert (losses[0].happened.is_set(), losses[-1].happened.is_set()) == (True, False)
    assert [error["index"] for error in errors] == list(range(len(stored), BATCH))
    assert len(stored) + len(unknown) == BATCH
    if is_answered_at_first:
        assert (answer.status, len(stored) >= BATCH_CALL) == (201, True)
    else:
        assert (answer.status, stored, answer.json["accepted"], answer.json["ids"]) == (503, [], "unknown", unknown)
    store = world.check(Allow(unfinished=True))
    found = store.jobs().keys() - warmed_up
    assert set(map(int, stored)) <= found <= set(map(int, [*stored, *unknown]))
    assert part == "call" or len(found) > len(stored), "what was stored unheard is among the unknown"


@pytest.mark.parametrize("nth", [1, 2, 5])
async def test_a_reservation(world: World, soon: Soon, part: str, nth: int) -> None:
    async with world.app() as app:
        jobs = await world.enqueue_many(app, 30, "slow", payload={"ms": 10})
        loss = lose(world.proxy, part, "reserve", nth=nth)

        async with app.workers(concurrency=4):
            await soon(world.is_drained)

    assert loss.happened.is_set()
    store = world.check()
    assert (store.count("done"), store.count("crash")) == (30, 0), "nothing waited for its lease to run out"
    assert len(world.log.runs()) == len(jobs)


async def test_an_extension(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        await world.enqueue_many(app, 2, "slow", payload={"ms": 4 * SHORT_LEASE_MS})
        losses = [lose(world.proxy, part, "extend", nth=nth) for nth in (2, 5)]

        async with app.workers(concurrency=2):
            await soon(world.is_drained)

    assert all(loss.happened.is_set() for loss in losses)
    assert world.check().count("done") == 2


@pytest.mark.parametrize(
    ("job_type", "counted"),
    [
        ("noop", {"done": 8, "retry": 0, "dead": 0}),
        ("flaky", {"done": 8, "retry": 8, "dead": 0}),
        ("fail", {"done": 0, "retry": 8, "dead": 8}),
    ],
)
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_settlement(
    world: World, soon: Soon, part: str, job_type: str, counted: dict[str, int], nth: int
) -> None:
    async with world.app() as app:
        await world.enqueue_many(app, 8, job_type, payload={"failures": 1}, max_retries=1)
        loss = lose(world.proxy, part, "settle", nth=nth)

        async with app.workers(concurrency=2):
            await soon(world.is_drained)

    assert loss.happened.is_set() or job_type == "noop", "trivial jobs may all be settled in one call"
    store = world.check()
    assert {name: store.count(name) for name in counted} == counted
    assert store.count("crash") == 0


async def test_a_release(world: World, soon: Soon, part: str) -> None:
    async with world.app(shutdown_timeout_ms=0) as app:
        await world.enqueue_many(app, 3, "slow", payload={"ms": 60_000})
        async with app.workers(concurrency=3):
            await soon(lambda: len(world.log.running()) == 3)
            loss = lose(world.proxy, part, "settle")

    assert loss.happened.is_set()
    store = world.check(Allow(unfinished=True))
    assert (store.by_status()["PENDING"], store.count("release")) == (3, 3)
    assert {job.count("at") for job in store.jobs().values()} == {0}


async def test_a_reaping(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        await world.enqueue_many(app, 5)
        await vanish_with(world, 5)
        loss = lose(world.proxy, part, "reap", nth=2)

        async with app.workers(concurrency=2):
            await soon(lambda: loss.happened.is_set() and world.is_drained())

    store = world.check()
    assert (store.count("crash"), store.count("done")) == (5, 5)


async def vanish_with(world: World, count: int) -> None:
    """Take jobs as a worker does that then loses its power."""
    backend = RedisBackend(world.redis.url, clock=SystemClock(), rng=Random(0))
    await backend.open()
    taken = await backend.reserve([Turn("default", 1)], limit=count, lease_ms=100, worker="lost:1")
    await backend.close()
    assert len(taken) == count


async def test_a_promotion(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        await world.enqueue_many(app, 5, delay=0.5)
        losses = [lose(world.proxy, part, script) for script in ("promote", "peek")]

        async with app.workers(concurrency=2):
            await soon(lambda: all(loss.happened.is_set() for loss in losses) and world.is_drained())

    assert world.check().count("done") == 5


async def test_an_expiry(world: World, part: str) -> None:
    clock = SystemClock()
    backend = RedisBackend(world.proxy.url, clock=clock, rng=Random(0))
    await backend.open()
    job = Jobs(clock, Random(0))
    assert await backend.enqueue([job(schedule_s=0.001) for _ in range(5)]) == [Enqueued.OK] * 5
    loss = lose(world.proxy, part, "expire", nth=2)

    while world.store().by_status()["DEAD"] < 5:
        await backend.expire(limit=2)
    await backend.close()

    assert loss.happened.is_set()
    assert world.check(Allow(strangers=True)).count("dead") == 5


async def test_a_note(world: World, part: str) -> None:
    clock = SystemClock()
    backend = RedisBackend(world.proxy.url, clock=clock, rng=Random(0))
    await backend.open()
    running = await given_running(backend, Jobs(clock, Random(0))())
    loss = lose(world.proxy, part, "note")

    replies = await backend.note([Note(lease_of(running), progress=0.5, checkpoint_json=b"7")])
    noted = await backend.get(running.id)
    await backend.close()

    assert loss.happened.is_set()
    assert replies == [Extended.HELD]
    assert noted is not None
    assert (noted.trail.progress, noted.checkpoint) == (0.5, 7)


async def test_a_cancellation(world: World, part: str) -> None:
    async with world.app() as app:
        [job] = await world.enqueue_many(app, 1)
        loss = lose(world.proxy, part, "cancel")

        cancelled = await app.cancel(job.id)

    assert loss.happened.is_set()
    assert cancelled.status.value == "CANCELLED"
    assert world.check().count("cancel") == 1


async def given_a_dead_job(world: World, soon: Soon) -> Job:
    async with world.app(by_proxy=False) as app, app.workers(concurrency=1):
        [job] = await world.enqueue_many(app, 1, "fail", max_retries=0)
        await soon(world.is_drained)
    return job


async def test_a_replay(world: World, soon: Soon, part: str) -> None:
    job = await given_a_dead_job(world, soon)
    async with world.app() as app:
        loss = lose(world.proxy, part, "replay")

        replayed = await app.replay(job.id)

    assert loss.happened.is_set()
    assert replayed.status.value == "PENDING"
    stored = world.check(Allow(unfinished=True)).jobs()[job.id]
    assert (stored.status, stored.count("rp")) == ("PENDING", 1)


async def test_a_change(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app:
        [job] = await world.enqueue_many(app, 1, delay=3_600)
        loss = lose(world.proxy, part, "amend")

        changed = await app.amend(job.id, delay=0, priority=9)
        async with app.workers(concurrency=1):
            await soon(world.is_drained)

    assert loss.happened.is_set()
    assert (changed.priority, changed.run_after_ms < job.run_after_ms) == (9, True)
    assert world.check(Allow(early=True)).count("done") == 1


async def test_a_change_whose_job_runs_before_the_repeat(world: World, soon: Soon, part: str) -> None:
    async with world.app() as app, world.app(by_proxy=False) as other:
        [job] = await world.enqueue_many(app, 1, "slow", payload={"ms": 1_000}, delay=3_600)
        lose(world.proxy, part, "amend")

        async with other.workers(concurrency=1):
            changed = await app.run_now(job.id)  # never told that it runs, and so cannot be changed
            await soon(world.is_drained)

    assert changed.id == job.id
    assert world.check(Allow(early=True)).count("done") == 1


async def test_a_deletion(world: World, soon: Soon, part: str) -> None:
    job = await given_a_dead_job(world, soon)
    async with world.app() as app:
        loss = lose(world.proxy, part, "delete")

        await app.delete_dead(job.id)

    assert loss.happened.is_set()
    assert world.store().jobs() == {}


async def test_fifty_repeats_of_one_enqueue_make_one_job(world: World, part: str) -> None:
    async with world.app() as app:
        [job] = await world.enqueue_many(app, 1)
        backends = [RedisBackend(world.proxy.url, clock=SystemClock(), rng=Random(n)) for n in range(5)]
        for backend in backends:
            await backend.open()
        lose(world.proxy, part, "enqueue")

        async with asyncio.TaskGroup() as group:
            repeats = [group.create_task(backends[n % 5].enqueue([job])) for n in range(50)]

        for backend in backends:
            await backend.close()
    assert [task.result() for task in repeats] == [[Enqueued.DUPLICATE]] * 50
    assert world.check(Allow(unfinished=True)).count("enq") == 1
