"""Drives a backend and the model with the same calls, and compares every reply and all that can be seen.

Generic: a backend's test subclasses `BackendMachine` and names its maker. The nonces of leases are read from the
backend's replies; leases stay in their bundle for ever, so most of those drawn are stale, repeated or wrong.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec.structs import replace
from tests.property.drawn import (
    CHANGED_PAYLOAD,
    LEASES_S,
    LIMITS,
    QUEUES,
    STEPS_S,
    NewJob,
    changes,
    checkpoints,
    delays_ms,
    new_jobs,
    other_jobs,
    places,
    progresses,
    settlement_kinds,
    turns,
)
from tests.property.model import Model
from tests.property.settling import settle_model, settlement_of
from tests.property.sight import QUERIES, Walk, compare, record_of, visible_counts, word_of, words

from gotaskq.amendment import Amendment
from gotaskq.backend import Backend, Enqueued, JobQuery, Note
from gotaskq.clock import Clock
from gotaskq.errors import QueueNotFoundError
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.policies.scheduling import Turn
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs

T = TypeVar("T")

SEED: Final = 1
ORDERING: Final = PriorityFifo()
THERE: Final = ("duplicate", "unique_key", "idempotency_key")


class BackendMachine(RuleBasedStateMachine):
    """The rules; `make_backend` is the subclass's."""

    jobs: Bundle[Job] = Bundle("jobs")
    leases: Bundle[Lease] = Bundle("leases")

    def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.model = Model(LIMITS)
        self.job = Jobs(self.clock, Random(SEED))
        self.known: set[JobId] = set()
        self.walk: Walk | None = None
        self.has_time_passed = False
        limits = StoreLimits(
            max_queue_depth=LIMITS.max_depth,
            max_completed_jobs=LIMITS.max_ended,
            max_dead_jobs=LIMITS.max_dead,
            complete_job_ttl_ms=LIMITS.ended_ttl_ms,
            dead_job_ttl_ms=LIMITS.dead_ttl_ms,
            idempotency_ttl_ms=LIMITS.request_ttl_ms,
        )
        self.backend = self.make_backend(limits, clock=self.clock, rng=Random(SEED))
        self.run(self.backend.open())

    def teardown(self) -> None:
        self.run(self.backend.close())
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    # -- in

    @initialize(target=jobs, jobs=st.lists(new_jobs, min_size=2, max_size=4))
    def begin(self, jobs: list[NewJob]) -> MultipleResults[Job]:
        self.create_queue("mail")
        return self._enqueue_new(jobs, [], atomic=False)

    def create_queue(self, name: str) -> None:
        assert self.run(self.backend.create_queue(name)) == self.model.create_queue(name)

    @rule(target=jobs, new=st.lists(new_jobs, max_size=3), again=st.lists(jobs, max_size=2), atomic=st.booleans())
    def enqueue(self, new: list[NewJob], again: list[Job], atomic: bool) -> MultipleResults[Job]:
        return self._enqueue_new(new, again, atomic=atomic)

    def _enqueue_new(self, new: list[NewJob], again: list[Job], *, atomic: bool) -> MultipleResults[Job]:
        made = [self.job(**drawn._asdict()) for drawn in new]
        self._enqueue([*again, *made], atomic=atomic)
        return multiple(*made)

    @rule(target=jobs, place=places)
    def enqueue_a_twin_of_a_dead_job(self, place: int) -> MultipleResults[Job]:
        unique_keys = [self.model.jobs[job_id].unique_key for job_id in self._one_of(self.model.deaths, place)]
        twins = [self.job(unique_key=unique_key) for unique_key in unique_keys]
        self._enqueue(twins, atomic=False)
        return multiple(*twins)

    @rule(job=jobs, change=other_jobs)
    def enqueue_another_with_the_same_id(self, job: Job, change: dict[str, str]) -> None:
        self._enqueue([replace(job, **change)], atomic=False)

    def _enqueue(self, jobs: Sequence[Job], *, atomic: bool) -> None:
        self.known.update(job.id for job in jobs)
        expected = self.model.enqueue([record_of(job) for job in jobs], atomic=atomic, now_ms=self.now_ms)
        replies = [word_of(reply) for reply in self.run(self.backend.enqueue(jobs, atomic=atomic))]
        if atomic and Enqueued.FULL.value in expected:  # which of too many are FULL and which WITHHELD is left open
            assert "ok" not in replies
            assert [reply in THERE for reply in words(replies)] == [reply in THERE for reply in words(expected)]
        else:
            assert replies == expected
            self._hear_when_due([job for job, reply in zip(jobs, replies, strict=True) if reply == "ok"])

    def _hear_when_due(self, stored: Sequence[Job]) -> None:
        # A job given again after its deletion: whether its delay counts from its making or from now is left open.
        for job in stored:
            found = self.run(self.backend.get(job.id))
            assert found is not None
            assert job.run_after_ms <= found.run_after_ms <= self.now_ms + job.delay_ms
            self.model.jobs[job.id].run_after_ms = found.run_after_ms

    # -- out

    @rule(target=leases, turns=turns, limit=st.integers(0, 5), lease_s=st.sampled_from(LEASES_S))
    def reserve(self, turns: list[Turn], limit: int, lease_s: int) -> MultipleResults[Lease]:
        try:
            return self._reserve(turns, limit=limit, lease_s=lease_s)
        except QueueNotFoundError:
            assert not {turn.queue for turn in turns} <= set(self.model.paused)
            return multiple()

    @rule(target=leases, limit=st.integers(1, 3), lease_s=st.sampled_from(LEASES_S))
    def reserve_from_both(self, limit: int, lease_s: int) -> MultipleResults[Lease]:
        return self._reserve([Turn("default", 1), Turn("mail", 1)], limit=limit, lease_s=lease_s)

    def _reserve(self, turns: list[Turn], *, limit: int, lease_s: int) -> MultipleResults[Lease]:
        worker, lease_ms = f"worker-{limit}", lease_s * 1000
        running = self.run(self.backend.reserve(turns, limit=limit, lease_ms=lease_ms, worker=worker))
        assert [job.id for job in running] == self.model.next(turns, limit=limit, now_ms=self.now_ms)
        leases = [lease for job in running if (lease := job.lease) is not None]
        for lease in leases:
            self.model.start(lease.job_id, nonce=lease.nonce, worker=worker, lease_ms=lease_ms, now_ms=self.now_ms)
        self._compare_replied(running)
        return multiple(*leases)

    @rule(target=leases, job_of=leases, nonce_of=leases)
    def mix_up_leases(self, job_of: Lease, nonce_of: Lease) -> Lease:
        return Lease(job_of.job_id, nonce_of.nonce)

    @rule(leases=st.lists(leases, max_size=2), place=places, lease_s=st.sampled_from(LEASES_S))
    def extend(self, leases: list[Lease], place: int, lease_s: int) -> None:
        leases = [*leases, *self._held()[:place]]
        replies = self.run(self.backend.extend(leases, lease_ms=lease_s * 1000))

        assert [reply.value for reply in replies] == [
            self.model.extend(lease.job_id, lease.nonce, lease_ms=lease_s * 1000, now_ms=self.now_ms)
            for lease in leases
        ]

    @rule(leases=st.lists(leases, max_size=2), progress=progresses, checkpoint_json=checkpoints)
    def note(self, leases: list[Lease], progress: tuple[float | None, str], checkpoint_json: bytes | None) -> None:
        notes = [Note(lease, *progress, checkpoint_json) for lease in (*leases, *self._held())]
        replies = self.run(self.backend.note(notes))

        assert [reply.value for reply in replies] == [
            self.model.note(
                note.lease.job_id,
                note.lease.nonce,
                progress=note.progress,
                text=note.text,
                checkpoint_json=note.checkpoint_json,
            )
            for note in notes
        ]

    # -- settle

    @precondition(lambda self: self._in("RUNNING"))
    @rule(drawn=st.lists(st.tuples(places, settlement_kinds), min_size=1, max_size=2), delay_ms=delays_ms)
    def settle_what_runs(self, drawn: list[tuple[int, str]], delay_ms: int) -> None:
        held = self._held()
        self.settle([(held[place % len(held)], kind) for place, kind in drawn], delay_ms=delay_ms)

    @precondition(lambda self: self._in("RUNNING"))
    @rule(place=places, kind=settlement_kinds, delay_ms=delays_ms)
    def settle_what_another_holds(self, place: int, kind: str, delay_ms: int) -> None:
        held = self._held()
        job_id = held[place % len(held)].job_id
        own_nonce = ["no such nonce", *self.model.jobs[job_id].settled_nonces][-1]
        self.settle([(Lease(job_id, own_nonce), kind)], delay_ms=delay_ms)

    @rule(drawn=st.lists(st.tuples(leases, settlement_kinds), min_size=1, max_size=3), delay_ms=delays_ms)
    def settle(self, drawn: list[tuple[Lease, str]], delay_ms: int) -> None:
        settlements = [settlement_of(kind, lease, delay_ms) for lease, kind in drawn]
        replies = self.run(self.backend.settle(settlements))
        assert len(replies) == len(settlements)
        for settlement, reply in zip(settlements, replies, strict=True):
            lease = settlement.lease
            repliable = self.model.repliable(lease.job_id, lease.nonce)
            assert reply.value in (repliable or {settle_model(self.model, settlement, now_ms=self.now_ms)})

    def _held(self) -> list[Lease]:
        running = [self.model.jobs[job_id] for job_id in self._in("RUNNING")]
        return [Lease(JobId(job.id), job.nonce) for job in running if job.nonce is not None]

    # -- time and upkeep

    @rule(seconds=st.sampled_from(STEPS_S))
    def advance(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))
        self.has_time_passed = True

    @rule(seconds=st.sampled_from((0, 5, 31)), limit=st.integers(1, 4), max_crashes=st.integers(1, 3))
    def reap(self, seconds: float, limit: int, max_crashes: int) -> None:
        self.advance(seconds)
        lapsed = self.model.lapsed(self.now_ms)

        reaped = self.run(self.backend.reap(limit=limit, max_crashes=max_crashes))

        assert len(reaped) == min(limit, len(lapsed))
        assert {job.id for job in reaped} <= lapsed
        for job in reaped:
            expected = self.model.reap(
                job.id, max_crashes=max_crashes, now_ms=self.now_ms, run_after_ms=job.run_after_ms
            )
            compare(job, expected)

    @rule(seconds=st.sampled_from((0, 5, 31)), limit=st.integers(0, 4))
    def expire(self, seconds: float, limit: int) -> None:
        self.advance(seconds)
        too_late = self.model.too_late(self.now_ms)

        expired = self.run(self.backend.expire(limit=limit))

        assert len(expired) == min(limit, len(too_late))
        assert {job.id for job in expired} <= too_late
        for job in expired:
            compare(job, self.model.expire(job.id, now_ms=self.now_ms))

    @rule(seconds=st.sampled_from((0, 5, 70)), limit=st.integers(0, 4), name=st.sampled_from(QUEUES[:-1]))
    def keep_up(self, seconds: float, limit: int, name: str) -> None:
        self.advance(seconds)
        assert 0 <= self.run(self.backend.promote(limit=limit)) <= limit
        self.create_queue(name)
        self.prune(limit)

    def prune(self, limit: int) -> None:
        expired = self.model.expired(self.now_ms)

        pruned = self.run(self.backend.prune(limit=limit))

        gone = {job_id for job_id in self.model.jobs if self.run(self.backend.get(JobId(job_id))) is None}
        assert gone <= expired
        assert pruned == len(gone) == min(limit, len(expired))
        for job_id in gone:
            self.model.forget(job_id)

    # -- steering

    @rule(queue=st.sampled_from(QUEUES), paused=st.sampled_from((False, False, False, True)))
    def set_paused(self, queue: str, paused: bool) -> None:
        try:
            self.run(self.backend.set_paused(queue, paused=paused))
        except QueueNotFoundError:
            assert queue not in self.model.paused
        else:
            assert queue in self.model.paused
            self.model.paused[queue] = paused

    @rule(jobs=st.lists(jobs, max_size=2), place=places)
    def cancel(self, jobs: list[Job], place: int) -> None:
        for job_id in [*(job.id for job in jobs), *self._one_of(self._in("RUNNING"), place)]:
            cancelled = self.run(self.backend.cancel(job_id))
            record = self.model.cancel(job_id, now_ms=self.now_ms)
            if cancelled is None or record is None:
                assert (cancelled is None) == (record is None)
            else:
                compare(cancelled, record)

    @rule(jobs=st.lists(jobs, max_size=2), place=places, change=changes)
    def amend(self, jobs: list[Job], place: int, change: dict[str, Any]) -> None:
        meant = [*self._one_of(self._in("PENDING"), place), *self._one_of(self.model.deaths, place)]
        for job_id in [*(job.id for job in jobs), *meant]:
            record = self.model.jobs.get(job_id)
            change = {**change, "replays": place % 2} if record and record.status == "DEAD" else dict(change)
            if record is not None and "priority" in change:
                change["rank"] = ORDERING.rank(priority=change["priority"], created_at_ms=record.created_at_ms)

            amended = self.run(self.backend.amend(job_id, Amendment(**change)))

            record, is_amended = self.model.amend(job_id, change, now_ms=self.now_ms)
            if amended is None or record is None:
                assert (amended is None) == (record is None)
            else:
                assert amended.is_amended == is_amended
                compare(amended.job, record)

    @rule(jobs=st.lists(jobs, max_size=2), place=places)
    def replay(self, jobs: list[Job], place: int) -> None:
        job_ids = [*(job.id for job in jobs), *self._one_of(self.model.deaths, place)]

        replayed = self.run(self.backend.replay(job_ids))

        expected = self.model.replay(job_ids, now_ms=self.now_ms)
        assert sorted(job.id for job in replayed) == sorted(expected)
        self._compare_replied(replayed)

    @rule(jobs=st.lists(jobs, max_size=2), place=places, status=st.none() | st.sampled_from(Status))
    def delete(self, jobs: list[Job], place: int, status: Status | None) -> None:
        job_ids = [*(job.id for job in jobs), *self._one_of(self.model.ended, place)]

        deleted = self.run(self.backend.delete(job_ids, status=status))

        assert deleted == self.model.delete(job_ids, status=None if status is None else status.value)

    def _in(self, status: str) -> list[int]:
        return self.model.listing(status=status)

    def _one_of(self, job_ids: Sequence[int], place: int) -> list[JobId]:
        return [JobId(job_ids[place % len(job_ids)])] if job_ids else []

    # -- listing while all that happens

    @rule(query=st.sampled_from(QUERIES), limit=st.integers(1, 3))
    def turn_page(self, query: JobQuery, limit: int) -> None:
        walk = self.walk = self.walk or Walk(query, self._listing(query))
        page = self.run(self.backend.list_jobs(walk.query, after=walk.cursor, limit=limit))
        assert len(page.jobs) <= limit
        walk.seen += [job.id for job in page.jobs]
        walk.cursor = page.next_cursor
        if page.next_cursor is None:
            walk.check()
            self.walk = None

    # -- all that can be seen

    @invariant()
    def everything_looks_the_same(self) -> None:
        if self.walk is not None:
            self.walk.there_all_along &= set(self._listing(self.walk.query))
        self.run(self._look())

    async def _look(self) -> None:
        # A store may notice what is due when its queues are counted, and the next call must find it not noticed yet.
        if self.has_time_passed:
            self.has_time_passed = False
        else:
            await self._look_at_queues()
        for job_id in self.known:
            job, record = await self.backend.get(job_id), self.model.jobs.get(job_id)
            if job is None or record is None:
                assert (job is None) == (record is None), job_id
            else:
                compare(job, record)
        for place, query in enumerate(QUERIES):
            assert await self._walk(query, limit=place + 2) == self._listing(query)

    async def _look_at_queues(self) -> None:
        queues = await self.backend.queues()
        assert list(queues) == sorted(self.model.paused)
        for name, counts in queues.items():
            assert visible_counts(counts) == self.model.counts(name, self.now_ms), name

    async def _walk(self, query: JobQuery, *, limit: int) -> list[int]:
        page = await self.backend.list_jobs(query, after=None, limit=limit)
        listed = [job.id for job in page.jobs]
        while page.next_cursor is not None:
            page = await self.backend.list_jobs(query, after=page.next_cursor, limit=limit)
            listed += [job.id for job in page.jobs]
        return [int(job_id) for job_id in listed]

    def _listing(self, query: JobQuery) -> list[int]:
        status = None if query.status is None else query.status.value
        payloads = [CHANGED_PAYLOAD] if query.payload else None
        return self.model.listing(status=status, queue=query.queue, type=query.type, payloads=payloads)

    def _compare_replied(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            compare(job, self.model.jobs[job.id])
