"""Workers say that they are there: to other processes of the store, and to who asks why a job has not run."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from gotaskq import Job, Settings, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.backends.memory.board import MemoryBoard
from gotaskq.engine.leasing import Wish
from gotaskq.errors import BackendUnavailableError
from gotaskq.explaining import NoWorker, NoWorkerForQueue, NoWorkerForType, Position, Reason
from gotaskq.presence import SAY_EVERY_S, WORKERS, WorkerPresence
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock


class Shared(MemoryBackend):
    """A store that several apps of a test use: one that ends does not close it."""

    async def close(self) -> None: ...


@pytest.fixture
def store(clock: FakeClock, rng: Random) -> Shared:
    return Shared(clock=clock, rng=rng)


def app_on(store: Shared, clock: FakeClock, *types: str, queues: dict[str, int] | None = None) -> TaskQ:
    app = TaskQ(store, settings=Settings(queues=queues), clock=clock, rng=Random(len(types)))
    for job_type in types:
        app.handler(job_type)(_work)
    return app


@pytest.fixture
async def other(store: Shared, clock: FakeClock) -> AsyncIterator[TaskQ]:
    """A process that runs nothing."""
    async with app_on(store, clock) as app:
        yield app


async def test_another_process_knows_what_a_worker_is(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, "work", queues={"mail": 5, "default": 1})
    async with app, app.workers(concurrency=3) as worker:
        await clock.settle()
        [own] = (await app.fleet()).workers
        seen = await other.fleet()

    assert seen.workers == [own]
    assert seen.is_complete
    assert (own.id, own.queues, own.types) == (worker.options.name, ("default", "mail"), ("work",))
    assert (own.slots, own.busy, own.is_quiet, own.started_at_ms) == (3, 0, False, clock.now_ms())
    assert own.id.startswith(f"{own.host}:{own.pid}:")


async def test_it_is_heard_of_again_and_again_and_gone_once_it_stops(
    other: TaskQ, store: Shared, clock: FakeClock
) -> None:
    app = app_on(store, clock, "work")
    async with app, app.workers(concurrency=1):
        await clock.advance(10 * WORKERS.ttl_ms / 1000)
        [seen] = (await other.fleet()).workers

    assert clock.now_ms() - seen.seen_at_ms <= 1.5 * SAY_EVERY_S * 1000
    assert (await other.fleet()).workers == []


async def test_one_that_is_quiet_is_told_at_once(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, "work")
    async with app, app.workers(concurrency=1) as worker:
        await clock.settle()
        worker.quiet()
        await clock.settle()

        assert [seen.is_quiet for seen in (await other.fleet()).workers] == [True]


async def test_one_that_drains_is_there_and_quiet_until_it_has(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock)

    @app.handler("long")
    async def run_long(job: Job) -> None:
        await clock.sleep(5)

    async with app, app.workers(concurrency=1) as worker:
        await app.enqueue("long")
        await clock.settle()
        worker.stop()
        await clock.advance(1)
        seen = (await other.fleet()).workers
        await clock.advance(5)

    assert [(one.is_quiet, one.slots) for one in seen] == [(True, 1)]
    assert (await other.fleet()).workers == []


async def test_one_that_was_killed_is_forgotten(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    await store.board(WORKERS).post({"gone:1:a": b'{"id":"gone:1:a"}', "b": b"of a later version"})
    await clock.advance(29.999)
    before = (await other.fleet()).workers
    await clock.advance(0.001)

    assert before == [WorkerPresence(id="gone:1:a", seen_at_ms=clock.now_ms() - 30_000)]
    assert (await other.fleet()).workers == []


async def test_of_very_many_types_not_all_are_told(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, *(f"{number:0128}" for number in range(300)))
    async with app, app.workers(concurrency=1):
        await clock.settle()
        [seen] = (await other.fleet()).workers

    assert (len(seen.types or ()), seen.has_more, seen.handles("unnamed")) == (250, True, True)


async def test_what_it_costs_to_be_known(store: Shared, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    posts, post = [], MemoryBoard.post

    async def counted(board: MemoryBoard, bodies: dict[str, bytes]) -> None:
        posts.append(bodies)
        await post(board, bodies)

    monkeypatch.setattr(MemoryBoard, "post", counted)
    app = app_on(store, clock, "work")
    async with app, app.workers(concurrency=1):
        await clock.advance(600)

    assert 50 <= len(posts) <= 70  # six a minute


async def test_a_board_that_is_away_stops_nothing(
    other: TaskQ, store: Shared, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(board: MemoryBoard, said: object) -> None:
        raise BackendUnavailableError

    app = app_on(store, clock, "work")
    with monkeypatch.context() as away:
        away.setattr(MemoryBoard, "post", fail)
        async with app, app.workers(concurrency=1):
            job = await app.enqueue("work")
            await clock.advance(60)
            done = await app.get(job.id)
            before = (await other.fleet()).workers
            away.undo()
            await clock.advance(1.5 * SAY_EVERY_S)
            after = (await other.fleet()).workers
            away.setattr(MemoryBoard, "remove", fail)

    assert (done.status.value, before, len(after)) == ("DONE", [], 1)


async def test_on_a_store_without_boards_a_process_knows_its_own(clock: FakeClock, rng: Random) -> None:
    app = TaskQ(FlakyBackend(MemoryBackend(clock=clock, rng=rng)), clock=clock, rng=rng)
    async with app, app.workers(concurrency=1) as worker:
        fleet = await app.fleet()

    assert ([one.id for one in fleet.workers], fleet.is_complete) == ([worker.options.name], False)


# ---- workers in other languages


async def ask(app: TaskQ, *types: str) -> None:
    wish = Wish(queues=("mail",), types=frozenset(types), limit=1, wait_s=0, lease_ms=30_000, worker="node-1")

    async def is_gone() -> bool:
        return False

    await app.leasing.take(wish, is_gone=is_gone)


async def test_one_that_leases_over_http_counts_by_what_it_asked_for(
    other: TaskQ, store: Shared, clock: FakeClock
) -> None:
    await other.create_queue("mail")
    async with app_on(store, clock) as app:
        await ask(app, "shout")
        here = (await app.fleet()).workers
        await clock.settle()
        there = (await other.fleet()).workers
        await clock.advance(25)
        await ask(app, "shout")
        await clock.advance(20)
        again = (await other.fleet()).workers
        await clock.advance(45)

        expected = WorkerPresence(
            id="remote/node-1", queues=("mail",), types=("shout",), is_remote=True, seen_at_ms=here[0].seen_at_ms
        )
        assert here == there == [expected]
        assert [one.id for one in again] == ["remote/node-1"]
        assert (await other.fleet()).workers == []


# ---- why a job has not run


async def reasons(app: TaskQ, job: Job) -> list[Reason]:
    return (await app.explain(job.id)).reasons


async def test_what_workers_elsewhere_do_is_no_reason_but_told(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, "work")
    async with app, app.workers(concurrency=1), app.workers(concurrency=1):
        await clock.settle()
        await app.pause("default")
        job = await other.enqueue("work")

        found = await reasons(other, job)

    assert found[1:] == [
        Position("default", 0, is_exact=True, running=0),
        NoWorker(is_quiet=False, elsewhere="some", workers=2),
        NoWorkerForType("work", "some", workers=2),
    ]


async def test_that_no_worker_anywhere_does_is_the_reason(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, "work", queues={"mail": 1})
    async with app, app.workers(concurrency=1):
        await clock.settle()
        unserved, unhandled = await other.enqueue("work"), await other.enqueue("nobody", queue="mail", delay=60)

        of_queue, of_type = await reasons(other, unserved), await reasons(other, unhandled)

    some = NoWorker(is_quiet=False, elsewhere="some", workers=1)
    assert of_queue == [
        NoWorkerForQueue("default", "none"),
        NoWorkerForType("work", "none"),
        Position("default", 0, is_exact=True, running=0),
        some,
    ]
    assert of_type[0] == NoWorkerForType("nobody", "none")
    assert of_type[-1] == some


async def test_a_quiet_worker_elsewhere_runs_nothing(other: TaskQ, store: Shared, clock: FakeClock) -> None:
    app = app_on(store, clock, "work")
    async with app, app.workers(concurrency=1) as worker:
        worker.quiet()
        await clock.settle()
        job = await other.enqueue("work")

        assert (await reasons(other, job))[0] == NoWorker(is_quiet=False, elsewhere="none")


async def _work(job: Job) -> None: ...
