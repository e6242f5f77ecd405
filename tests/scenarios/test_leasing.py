"""Jobs lent to workers elsewhere, from the first wish to the last settlement, under a clock the test moves."""

import asyncio
from random import Random

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.leasing import MAX_NAMES, MAX_SET_ASIDE, Renewed, Wish
from gotaskq.errors import BackendUnavailableError, LeaseNotFoundError, ShuttingDownError, StaleLeaseError
from gotaskq.events import (
    Event,
    JobCancelled,
    JobDied,
    JobDone,
    JobProgressed,
    JobReleased,
    JobRetryScheduled,
    JobSnoozed,
    JobStarted,
    LeaseLapsed,
    LeaseLost,
)
from gotaskq.job import DeathReason, JobId, Lease, Status, held_lease
from gotaskq.outcome import Failed, Interrupted, Snoozed, Succeeded
from gotaskq.policies.retry import FixedDelay
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.flaky import FlakyBackend

LEASE_MS = 30_000
FAILED = Failed("ValueError: no luck", ValueError("no luck"))


def wish(**members: object) -> Wish:
    base: dict[str, object] = {
        "queues": ("default",),
        "types": None,
        "limit": 1,
        "wait_s": 0.0,
        "lease_ms": LEASE_MS,
        "worker": "far",
    }
    return Wish(**(base | members))  # type: ignore[arg-type]  # members of Wish, by name


async def stays() -> bool:
    return False


async def goes() -> bool:
    return True


async def lend(app: TaskQ, **members: object) -> list[Job]:
    return await app.leasing.take(wish(**members), is_gone=stays)


async def lend_one(app: TaskQ) -> Lease:
    [job] = await lend(app)
    return held_lease(job)


def of_type(events: list[Event], *kinds: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kinds)]


# ---- lending


async def test_a_lent_job_runs_under_the_name_of_its_worker(app: TaskQ, events: list[Event]) -> None:
    async with app:
        job = await app.enqueue("email", {"to": "a@b.c"})

        [lent] = await lend(app)

        stored = await app.get(job.id)
        assert (stored.status, stored.worker, stored.attempt) == (Status.RUNNING, "far", 1)
        assert lent == stored
        assert of_type(events, JobStarted) == [JobStarted(lent)]


async def test_who_waits_gets_a_job_as_soon_as_there_is_one(app: TaskQ, clock: FakeClock, until: Until) -> None:
    async with app:
        waiting = asyncio.create_task(lend(app, wait_s=20.0))
        await clock.advance(7)
        job = await app.enqueue("email")

        await until(waiting.done)

        assert [lent.id for lent in waiting.result()] == [job.id]


async def test_who_waits_in_vain_is_answered_at_the_time_out(app: TaskQ, clock: FakeClock, until: Until) -> None:
    async with app:
        waiting = asyncio.create_task(lend(app, wait_s=5.0))
        await clock.advance(4)
        assert not waiting.done()

        await clock.advance(1)
        await until(waiting.done)

        assert waiting.result() == []


async def test_all_due_jobs_of_the_first_queue_go_first(app: TaskQ) -> None:
    async with app:
        await app.create_queue("urgent")
        slow = [await app.enqueue("email") for _ in range(2)]
        fast = [await app.enqueue("email", queue="urgent") for _ in range(2)]

        lent = await lend(app, queues=("urgent", "default"), limit=3)

        assert [job.id for job in lent] == [fast[0].id, fast[1].id, slow[0].id]


async def test_jobs_for_a_caller_that_has_gone_are_given_back_unharmed(app: TaskQ, events: list[Event]) -> None:
    async with app:
        job = await app.enqueue("email")

        lent = await app.leasing.take(wish(), is_gone=goes)

        stored = await app.get(job.id)
        assert lent == []
        assert (stored.status, stored.attempt, stored.run_after_ms) == (Status.PENDING, 0, job.run_after_ms)
        assert len(of_type(events, JobReleased)) == 1
        assert not of_type(events, JobStarted)


async def test_a_draining_service_lends_nothing_and_tells_holders(app: TaskQ, clock: FakeClock, until: Until) -> None:
    async with app:
        await app.enqueue("email")
        lease = await lend_one(app)
        waiting = asyncio.create_task(lend(app, wait_s=20.0))
        await clock.settle()

        app.stop_accepting()
        renewed = await app.leasing.renew(lease, lease_ms=LEASE_MS)
        await clock.advance(1)
        await until(waiting.done)

        assert waiting.result() == []
        assert renewed == Renewed("quiet", clock.now_ms() - 1_000 + LEASE_MS)
        with pytest.raises(ShuttingDownError):
            await lend(app)


# ---- types


async def test_other_types_are_set_aside_for_a_moment_and_not_harmed(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        other = await app.enqueue("pdf", priority=10)
        wanted = await app.enqueue("email")

        lent = await lend(app, types=frozenset({"email"}))

        stored = await app.get(other.id)
        assert [job.id for job in lent] == [wanted.id]
        assert (stored.status, stored.attempt, stored.retry_count, stored.unhandled_since_ms) == (
            Status.PENDING,
            0,
            0,
            None,
        )
        assert await lend(app) == []
        await clock.advance(5)
        assert [job.id for job in await lend(app)] == [other.id]


async def test_one_wish_sets_aside_only_so_many(app: TaskQ) -> None:
    async with app:
        for _ in range(MAX_SET_ASIDE + 7):
            await app.enqueue("pdf")

        assert await lend(app, types=frozenset({"email"}), limit=16, wait_s=20.0) == []

        counts = (await app.queues())["default"]
        assert (counts.scheduled, counts.ready) == (MAX_SET_ASIDE, 7)


async def test_types_that_a_worker_names_are_shown_in_the_metrics(app: TaskQ) -> None:
    async with app:
        await lend(app, types=frozenset({"email"}))
        await app.enqueue("email")
        await app.leasing.settle(await lend_one(app), Succeeded())

        page = (await app.metrics_page()).decode()

        assert 'gotaskq_jobs_processed_total{queue="default",status="done",type="email"} 1' in page


async def test_more_names_than_a_store_should_remember_become_one(app: TaskQ) -> None:
    async with app:
        for number in range(MAX_NAMES):
            await lend(app, worker=f"far-{number}")
        await app.enqueue("email")

        [job] = await lend(app, worker="one more")

        assert job.worker == "remote"


# ---- renewing


async def test_a_renewed_lease_is_kept_and_tells_how_far_it_is(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    async with app:
        job = await app.enqueue("email")
        lease = await lend_one(app)
        for _ in range(4):
            await clock.advance(20)

            renewed = await app.leasing.renew(
                lease, lease_ms=LEASE_MS, progress=0.5, text="half", checkpoint_json=b'{"at":7}'
            )

        stored = await app.get(job.id)
        assert renewed == Renewed("running", clock.now_ms() + LEASE_MS)
        assert (stored.status, stored.crashes, stored.trail.progress, stored.trail.note) == (
            Status.RUNNING,
            0,
            0.5,
            "half",
        )
        assert stored.checkpoint == {"at": 7}
        assert len(of_type(events, JobProgressed)) == 4


async def test_a_lease_that_nobody_renews_lapses_though_no_worker_runs_here(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    async with app:
        job = await app.enqueue("email")
        lease = await lend_one(app)

        await clock.advance(40)

        stored = await app.get(job.id)
        assert (stored.status, stored.crashes, stored.retry_count) == (Status.PENDING, 1, 0)
        assert len(of_type(events, LeaseLapsed)) == 1
        for late in (app.leasing.renew(lease, lease_ms=LEASE_MS), app.leasing.settle(lease, Succeeded())):
            with pytest.raises(StaleLeaseError, match="PENDING"):
                await late
        assert len(of_type(events, LeaseLost)) == 1


async def test_who_holds_a_job_hears_that_it_is_to_be_cancelled(app: TaskQ, events: list[Event]) -> None:
    async with app:
        job = await app.enqueue("email")
        lease = await lend_one(app)
        await app.cancel(job.id)

        renewed = await app.leasing.renew(lease, lease_ms=LEASE_MS)
        status = await app.leasing.settle(lease, Interrupted())

        assert renewed.state == "cancel"
        assert status is Status.CANCELLED
        assert (await app.get(job.id)).status is Status.CANCELLED
        assert len(of_type(events, JobCancelled)) == 1


async def test_a_lease_is_not_kept_long_beyond_the_time_of_its_attempt(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        job = await app.enqueue("email", timeout=10)
        lease = await lend_one(app)
        await clock.advance(11)

        states = [(await app.leasing.renew(lease, lease_ms=3_600_000)).state]
        await clock.advance(15)
        states.append((await app.leasing.renew(lease, lease_ms=3_600_000)).state)
        await clock.advance(20)

        assert states == ["cancel", "cancel"]
        assert (await app.get(job.id)).crashes == 1


async def test_a_job_given_back_because_its_time_was_up_has_failed(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        job = await app.enqueue("email", timeout=10, max_retries=1)
        statuses = []
        for _ in range(2):
            lease = await lend_one(app)
            await clock.advance(11)
            await app.leasing.renew(lease, lease_ms=30_000)
            statuses.append(await app.leasing.settle(lease, Interrupted()))
            await clock.advance(3_600)
        dead = await app.get(job.id)

        assert statuses == [Status.PENDING, Status.DEAD]
        assert (dead.retry_count, dead.error) == (1, "JobTimeoutError: ran longer than 10 s")


# ---- settling


async def test_a_completed_job_is_done_with_its_result_and_told_of(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    async with app:
        job = await app.enqueue("email")
        lease = await lend_one(app)
        await clock.advance(2)

        statuses = [await app.leasing.settle(lease, Succeeded(b"250")) for _ in range(2)]

        assert statuses == [Status.DONE, Status.DONE]
        assert (await app.get(job.id)).result == 250
        [done] = of_type(events, JobDone)
        assert isinstance(done, JobDone)
        assert done.duration_s == 2.0


async def test_a_failure_is_retried_as_its_type_says_until_it_is_dead(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app()
    seen: list[Event] = []
    app.observe(seen.append)

    @app.handler("email", retry=FixedDelay(2_000))
    async def send(job: Job) -> None: ...

    async with app:
        job = await app.enqueue("email", max_retries=1)
        first = await app.leasing.settle(await lend_one(app), FAILED)
        await clock.advance(2)
        last = await app.leasing.settle(await lend_one(app), FAILED)

        stored = await app.get(job.id)
        assert (first, last) == (Status.PENDING, Status.DEAD)
        assert (stored.death_reason, stored.error) == (DeathReason.RETRIES_EXHAUSTED, "ValueError: no luck")
        [retried] = of_type(seen, JobRetryScheduled)
        assert isinstance(retried, JobRetryScheduled)
        assert retried.delay_ms == 2_000
        assert len(of_type(seen, JobDied)) == 1


async def test_a_failure_that_must_not_be_retried_is_dead_at_once(app: TaskQ) -> None:
    async with app:
        job = await app.enqueue("email")

        status = await app.leasing.settle(await lend_one(app), FAILED, may_retry=False)

        assert status is Status.DEAD
        assert (await app.get(job.id)).death_reason is DeathReason.NO_RETRY


async def test_a_snoozed_job_comes_again_and_spends_nothing(app: TaskQ, clock: FakeClock, events: list[Event]) -> None:
    async with app:
        job = await app.enqueue("email")

        await app.leasing.settle(await lend_one(app), Snoozed(60_000))

        stored = await app.get(job.id)
        assert (stored.attempt, stored.retry_count, stored.run_after_ms) == (0, 0, clock.now_ms() + 60_000)
        assert len(of_type(events, JobSnoozed)) == 1


async def test_a_lease_is_settled_in_one_way(app: TaskQ) -> None:
    async with app:
        await app.enqueue("email")
        lease = await lend_one(app)
        await app.leasing.settle(lease, FAILED)

        again = await app.leasing.settle(lease, FAILED)

        assert again is Status.PENDING
        with pytest.raises(StaleLeaseError, match="settled in another way"):
            await app.leasing.settle(lease, Succeeded())


async def test_a_lease_of_no_job_is_not_found(app: TaskQ) -> None:
    async with app:
        nobodys = Lease(JobId(1), "0" * 24)

        with pytest.raises(LeaseNotFoundError):
            await app.leasing.renew(nobodys, lease_ms=LEASE_MS)
        with pytest.raises(LeaseNotFoundError):
            await app.leasing.settle(nobodys, Succeeded())


async def test_a_settlement_whose_reply_was_lost_is_told_of_once(clock: FakeClock, rng: Random) -> None:
    store = FlakyBackend(MemoryBackend(clock=clock, rng=rng))
    app = TaskQ(store, clock=clock, rng=rng)
    done: list[Event] = []
    app.observe(done.append, [JobDone])

    async with app:
        await app.enqueue("email")
        lease = await lend_one(app)
        store.lose_reply("settle")
        with pytest.raises(BackendUnavailableError):
            await app.leasing.settle(lease, Succeeded())

        statuses = [await app.leasing.settle(lease, Succeeded()) for _ in range(2)]

        assert statuses == [Status.DONE, Status.DONE]
        assert len(done) == 1


async def test_jobs_are_not_taken_from_holders_whose_renewals_lie_unread(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        job = await app.enqueue("email")
        lease = await lend_one(app)
        await clock.settle()

        clock.jump(35)
        await clock.settle()
        await app.leasing.renew(lease, lease_ms=LEASE_MS)

        assert (await app.get(job.id)).crashes == 0
