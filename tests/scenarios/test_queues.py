"""Queues that are steered while workers run: drained, purged, deleted, and set up one by one."""

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import FixedDelay, Job, Settings, Status, TaskQ
from gotaskq.errors import GotaskqError, QueueDrainingError, QueueInUseError, QueueNotFoundError
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.flaky import FlakyBackend


def with_failing(app: TaskQ) -> list[str]:
    """Give the app a handler that fails once a job, and return what it was called with."""
    ran: list[str] = []

    @app.handler("fail-once")
    async def fail_once(job: Job) -> None:
        ran.append(f"{job.queue} {job.attempt}")
        if job.attempt == 1:
            raise ValueError("no luck")

    return ran


async def test_a_drained_queue_is_finished_with_its_retries(app: TaskQ, clock: FakeClock) -> None:
    ran = with_failing(app)

    async with app:
        job = await app.enqueue("fail-once")
        await app.queue("default").drain()
        with pytest.raises(QueueDrainingError, match="default is draining"):
            await app.enqueue("fail-once")
        with pytest.raises(QueueDrainingError):
            await app.enqueue_many([app.job("fail-once")])
        async with app.workers(1):
            await clock.advance(10)

        assert ran == ["default 1", "default 2"]
        assert (await app.get(job.id)).status is Status.DONE
        assert (await app.queue("default").stats()).draining
        await app.resume("default")
        assert (await app.enqueue("fail-once")).status is Status.PENDING


async def test_a_queue_has_a_backoff_and_retries_of_its_own(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(retry=FixedDelay(1))
    ran = with_failing(app)

    async with app:
        for queue in ("slow", "strict", "plain"):
            await app.create_queue(queue)
        await app.queue("slow").configure(base_delay=60, max_delay=60)
        await app.queue("strict").configure(max_retries=0)
        jobs = {queue: await app.enqueue("fail-once", queue=queue) for queue in ("slow", "strict", "plain")}
        async with app.workers(1):
            await clock.advance(59)
            early = {queue: (await app.get(job.id)).status for queue, job in jobs.items()}
            await clock.advance(30)

        assert early == {"slow": Status.PENDING, "strict": Status.DEAD, "plain": Status.DONE}
        assert (await app.get(jobs["slow"].id)).status is Status.DONE
        assert sorted(ran) == ["plain 1", "plain 2", "slow 1", "slow 2", "strict 1"]


async def test_a_queue_is_deleted_while_a_worker_serves_it(app: TaskQ, clock: FakeClock, until: Until) -> None:
    ran = with_failing(app)

    async with app:
        await app.create_queue("mail")
        async with app.workers(1):
            await app.enqueue("fail-once", queue="mail")
            await clock.advance(10)
            await app.queue("mail").delete()
            await app.enqueue("fail-once")
            await until(lambda: "default 1" in ran)

        assert list(await app.queues()) == ["default"]
        with pytest.raises(QueueNotFoundError):
            await app.queue("mail").delete()


async def test_a_purge_takes_thousands_and_says_how_many(app: TaskQ) -> None:
    async with app:
        await app.enqueue_many([app.job("any", delay=number % 2) for number in range(2_500)])

        assert await app.queue("default").purge() == 2_500
        assert (await app.queue("default").stats()).depth == 0


async def test_figures_are_in_seconds(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        await app.create_queue("mail")
        await app.enqueue("any")
        await clock.advance(1.5)

        default, mail = await app.queue_stats()

        assert (default.name, default.latency_seconds, default.depth) == ("default", 1.5, 1)
        assert (mail.name, mail.latency_seconds, mail.depth) == ("mail", 0.0, 0)


async def test_the_default_queue_cannot_be_deleted(app: TaskQ) -> None:
    async with app:
        with pytest.raises(QueueInUseError, match="name no queue"):
            await app.queue("default").delete()


async def test_a_store_that_does_not_govern_can_be_paused_and_looked_at(clock: FakeClock) -> None:
    app = TaskQ(settings=Settings())
    async with app.override(wrap=FlakyBackend().around):
        await app.pause("default")
        stats = await app.queue("default").stats()
        await app.resume("default")

        assert (stats.paused, stats.latency_seconds) == (True, 0.0)
        with pytest.raises(GotaskqError, match="FlakyBackend does not govern queues"):
            await app.queue("default").drain()
