"""The journalled backend keeps the contract, whatever happens to its journal and its process."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.conformance.journals import DictJournal, WilfulJournal

from gotaskq import TaskQ
from gotaskq.backend import Backend, Enqueued, Extended, JobQuery, Note, Settled
from gotaskq.backends.journalled import Journal, JournalledBackend
from gotaskq.clock import Clock
from gotaskq.errors import BackendUnavailableError, ConfigError, GotaskqError
from gotaskq.job import Status
from gotaskq.outcome import Complete
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance import BackendConformance, BoardsConformance
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    enqueue,
    given_dead,
    given_done,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
)


class TestJournalled(BackendConformance, BoardsConformance):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        return JournalledBackend(DictJournal(), limits, clock=clock, rng=rng)


@pytest.fixture
def journal() -> WilfulJournal:
    return WilfulJournal()


@pytest.fixture
def job(clock: FakeClock, rng: Random) -> Jobs:
    return Jobs(clock, rng)


class TestAfterARestart:
    async def test_all_is_as_it_was(self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random) -> None:
        async with opened_on(journal, clock, rng) as backend:
            await backend.create_queue("mail")
            await backend.set_paused("mail", paused=True)
            dead = [await given_dead(backend, job()), await given_dead(backend, job())]
            done = await given_done(backend, job())
            waiting = [job(priority=1), job(priority=9), job(delay_s=60), job(queue="mail")]
            await enqueue(backend, *waiting)
            before = await everything(backend)

        async with opened_on(journal, clock, rng) as backend:
            after = await everything(backend)

            assert after == before
            assert await counts(backend, "mail") == counted(ready=1, is_paused=True)
            assert ids((await backend.list_jobs(JobQuery(status=Status.DEAD), after=None, limit=9)).jobs) == ids(
                reversed(dead)
            )
            assert await look(backend, done) == done
            assert ids(await reserve(backend)) == ids([waiting[1], waiting[0]])
            await clock.advance(60)
            assert ids(await reserve(backend)) == ids([waiting[2]])

    async def test_what_ran_is_taken_back_at_once(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            running = await given_running(backend, job(), lease_s=600)
            await backend.note([Note(lease_of(running), checkpoint_json=b"[7]")])

        async with opened_on(journal, clock, rng) as backend:
            [reaped] = await backend.reap(limit=9, max_crashes=3)

            assert (reaped.status, reaped.crashes, reaped.checkpoint) == (Status.PENDING, 1, [7])
            assert await backend.settle([Complete(lease_of(running))]) == [Settled.LOST]

    async def test_what_is_deleted_or_over_stays_gone(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            done, dead = await given_done(backend, job()), await given_dead(backend, job())
            await backend.delete([dead.id])
            await clock.advance(3_600)
            assert await backend.prune(limit=9) == 1

        assert journal.records == {}
        async with opened_on(journal, clock, rng) as backend:
            assert [await backend.get(gone.id) for gone in (done, dead)] == [None, None]

    async def test_smaller_limits_hold_for_what_there_was(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            older, newer = await given_dead(backend, job()), await given_dead(backend, job())

        async with opened_on(journal, clock, rng, StoreLimits(max_dead_jobs=1)) as backend:
            assert (await backend.get(older.id), await look(backend, newer)) == (None, newer)

        assert list(journal.records) == [f"job/{newer.id}"]

    async def test_a_clock_that_went_back_meanwhile_brings_no_instant_back(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            running = await given_running(backend, job())
        clock.step_back(3_600)

        async with opened_on(journal, clock, rng) as backend:
            assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]
            assert (await look(backend, running)).finished_at_ms == running.started_at_ms

    async def test_a_record_of_somebody_else_stops_the_start(self, clock: FakeClock, rng: Random) -> None:
        journal = DictJournal()
        journal.records["job/7"] = b'{"number":1}'

        with pytest.raises(GotaskqError, match=r"the journal's record 'job/7' is none of ours: .*`job`"):
            await JournalledBackend(journal, clock=clock, rng=rng).open()


class TestWriting:
    async def test_nobody_hears_of_a_job_before_it_is_kept(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            journal.gate.clear()
            new = job()
            enqueueing = asyncio.create_task(backend.enqueue([new]))
            await asyncio.to_thread(journal.is_asked.wait)
            looking = asyncio.create_task(backend.get(new.id))
            await clock.settle()
            early = enqueueing.done() or looking.done()
            journal.gate.set()

            assert await enqueueing == [Enqueued.OK]
            assert await looking == new
            assert not early

    async def test_those_who_come_during_a_write_share_the_next(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            journal.gate.clear()
            first = asyncio.create_task(backend.enqueue([job()]))
            await asyncio.to_thread(journal.is_asked.wait)
            others = [asyncio.create_task(backend.enqueue([job()])) for _ in range(20)]
            await clock.settle()
            journal.gate.set()
            await asyncio.gather(first, *others)

            assert journal.writes == 2
            assert len(journal.records) == 21

    async def test_a_look_writes_nothing(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            running = await given_running(backend, job())
            writes = journal.writes

            assert await backend.extend([lease_of(running)], lease_ms=9_000) == [Extended.HELD]
            await everything(backend)

            assert journal.writes == writes

    async def test_a_caller_who_leaves_takes_no_write_along(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            journal.gate.clear()
            new = job()
            leaving = asyncio.create_task(backend.enqueue([new]))
            await asyncio.to_thread(journal.is_asked.wait)
            leaving.cancel()
            await clock.settle()
            journal.gate.set()

            assert await backend.enqueue([new]) == [Enqueued.DUPLICATE]
            assert (leaving.cancelled(), journal.writes) == (True, 1)

    async def test_what_could_not_be_written_is_written_with_the_next(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            journal.is_broken = True
            new = job()
            with pytest.raises(BackendUnavailableError, match=r"could not be written: .*No space left"):
                await backend.enqueue([new])
            was_reachable = backend.is_reachable
            with pytest.raises(BackendUnavailableError):
                await backend.get(new.id)
            with pytest.raises(BackendUnavailableError):
                await backend.enqueue([job()])
            journal.is_broken = False

            assert await backend.enqueue([new]) == [Enqueued.DUPLICATE]
            assert (was_reachable, backend.is_reachable) == (False, True)
            assert list(journal.records) == [f"job/{new.id}"]  # the other was refused before it was stored

    async def test_a_failure_nobody_waits_for_is_no_noise(
        self, journal: WilfulJournal, job: Jobs, clock: FakeClock, rng: Random, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened_on(journal, clock, rng) as backend:
            journal.gate.clear()
            journal.is_broken = True
            leaving = asyncio.create_task(backend.enqueue([job()]))
            await asyncio.to_thread(journal.is_asked.wait)
            leaving.cancel()
            await clock.settle()
            journal.gate.set()

        gc.collect()
        assert caplog.text == ""
        assert journal.records == {}

    async def test_a_journal_that_hangs_is_one_that_is_away(
        self,
        journal: WilfulJournal,
        job: Jobs,
        clock: FakeClock,
        rng: Random,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("gotaskq.backends.journalled.ANSWER_WITHIN_S", 0)
        async with opened_on(journal, clock, rng) as backend:
            journal.gate.clear()
            with pytest.raises(BackendUnavailableError, match="has not answered within 0 s"):
                await backend.enqueue([job()])
            was_reachable = backend.is_reachable
            monkeypatch.undo()
            journal.gate.set()

            assert await counts(backend) == counted(ready=1)
            assert (was_reachable, backend.is_reachable) == (False, True)


class TestAroundIt:
    async def test_it_is_opened_again_as_it_was_closed(self, clock: FakeClock, rng: Random, job: Jobs) -> None:
        backend = JournalledBackend(DictJournal(), clock=clock, rng=rng)
        new = job()
        for replied in (Enqueued.OK, Enqueued.DUPLICATE):
            await backend.open()
            assert await backend.enqueue([new]) == [replied]
            await backend.close()

    async def test_it_belongs_to_one_process(self, clock: FakeClock, rng: Random) -> None:
        app = TaskQ(JournalledBackend(DictJournal(), clock=clock, rng=rng))

        assert not app.is_shared
        with pytest.raises(ConfigError, match="only inside"):
            app.enqueue_sync("email")


@asynccontextmanager
async def opened_on(
    journal: Journal, clock: Clock, rng: Random, limits: StoreLimits | None = None
) -> AsyncIterator[JournalledBackend]:
    backend = JournalledBackend(journal, limits, clock=clock, rng=rng)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def everything(backend: Backend) -> object:
    jobs = (await backend.list_jobs(JobQuery(), after=None, limit=1_000)).jobs
    return jobs, await backend.queues()
