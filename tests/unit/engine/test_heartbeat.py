"""The heartbeat: what is renewed, by whom, and what happens to exclusive attempts that cannot be."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from tests.unit.engine.jobs import running

from gotaskq.backend import Extended
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.heartbeat import LOOP_LIVENESS_S, MARGIN_S, OVERTIME_S, Heartbeat, Held
from gotaskq.engine.loop_watch import LoopWatch
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import JobId, Lease, held_lease
from gotaskq.testing.clock import FakeClock

LEASE_S = 30.0
BEAT_S = LEASE_S / 3
JOB = running()
LEASE = held_lease(JOB)
OTHER = Lease(JobId(8), "other")


class Store(MemoryBackend):
    """Answers extensions as told, and remembers them; also as the line of a thread."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock, rng=Random(1))
        self.says: Extended | None = Extended.HELD
        self.is_away = False
        self.asked: list[list[Lease]] = []

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        return [said for said in self.answer(leases) if said is not None]

    def answer(self, leases: Sequence[Lease]) -> list[Extended | None]:
        if self.is_away:
            raise BackendUnavailableError("away")
        self.asked.append(list(leases))
        return [self.says] * len(leases)


class Line:
    def __init__(self, store: Store) -> None:
        self._store = store

    def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended | None]:
        return self._store.answer(leases)

    def close(self) -> None:
        pass


@dataclass
class Worker:
    """What a heartbeat asks of its worker."""

    held: list[Held] = field(default_factory=list)
    cancelled: list[JobId] = field(default_factory=list)
    interrupted: list[Lease] = field(default_factory=list)


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return Store(clock)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def watch(clock: FakeClock) -> LoopWatch:
    return LoopWatch(clock=clock, on_stall=lambda stalled_s: None)


@pytest.fixture
def heartbeat(store: Store, worker: Worker, clock: FakeClock, watch: LoopWatch) -> Heartbeat:
    return Heartbeat(
        store,
        clock=clock,
        lease_ms=int(LEASE_S * 1000),
        held=lambda: worker.held,
        exclusive_types={JOB.type},
        cancel=worker.cancelled.append,
        interrupt=worker.interrupted.append,
        watch=watch,
    )


async def take_turn(heartbeat: Heartbeat, store: Store, watch: LoopWatch) -> float:
    """Do what the thread does, and let the loop hear of it."""
    pause_s = heartbeat._take_turn(Line(store), watch, asyncio.get_running_loop())
    await asyncio.sleep(0)
    return pause_s


class TestOnTheLoop:
    @pytest.fixture(autouse=True)
    async def beating(self, heartbeat: Heartbeat, worker: Worker) -> None:
        worker.held = [Held(LEASE)]
        self.loops = [asyncio.create_task(loop) for loop in heartbeat.loops()]

    @pytest.fixture(autouse=True)
    async def ending(self, beating: None) -> object:
        yield
        for loop in self.loops:
            loop.cancel()
        await asyncio.wait(self.loops)

    async def test_a_store_without_a_line_is_asked_by_the_loop_three_times_a_lease(
        self, store: Store, clock: FakeClock
    ) -> None:
        await clock.advance(LEASE_S)

        assert store.asked == [[LEASE]] * 3

    async def test_an_outage_is_survived(
        self, store: Store, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.is_away = True
        await clock.advance(BEAT_S)
        store.is_away = False
        await clock.advance(BEAT_S)

        assert store.asked == [[LEASE]]
        assert "leases could not be extended" in caplog.messages

    async def test_who_is_to_be_cancelled_is_heard_of(self, store: Store, worker: Worker, clock: FakeClock) -> None:
        store.says = Extended.CANCEL_REQUESTED

        await clock.advance(BEAT_S)

        assert worker.cancelled == [LEASE.job_id]

    async def test_an_exclusive_attempt_that_is_renewed_goes_on(
        self, heartbeat: Heartbeat, worker: Worker, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE, is_exclusive=True)]
        await heartbeat.admit([JOB], sent_s=clock.monotonic_s())

        await clock.advance(10 * LEASE_S)

        assert worker.interrupted == []

    async def test_an_exclusive_attempt_is_stopped_once_just_before_its_lease_could_lapse(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE, is_exclusive=True), Held(OTHER)]
        await heartbeat.admit([JOB], sent_s=clock.monotonic_s())
        await clock.advance(BEAT_S + 1)
        store.is_away = True

        await clock.advance(LEASE_S - MARGIN_S - 1.001)
        before = list(worker.interrupted)
        await clock.advance(0.002)
        at_the_deadline = list(worker.interrupted)
        await clock.advance(LEASE_S)

        assert (before, at_the_deadline, worker.interrupted) == ([], [LEASE], [LEASE])

    async def test_an_exclusive_attempt_whose_lease_is_lost_is_stopped_at_once(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE, is_exclusive=True), Held(OTHER)]
        await heartbeat.admit([JOB], sent_s=clock.monotonic_s())
        store.says = Extended.LOST

        await clock.advance(BEAT_S)

        assert worker.interrupted == [LEASE]

    async def test_an_attempt_that_has_ended_is_not_stopped(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, clock: FakeClock
    ) -> None:
        await heartbeat.admit([JOB], sent_s=clock.monotonic_s())
        worker.held = [Held(LEASE)]  # its settlement waits for the store
        store.is_away = True

        await clock.advance(2 * LEASE_S)

        assert worker.interrupted == []


class TestLateReplies:
    async def test_a_reply_in_time_is_believed(self, heartbeat: Heartbeat, store: Store, clock: FakeClock) -> None:
        clock.jump(LEASE_S - 0.001)

        assert await heartbeat.admit([JOB], sent_s=0.0) == [JOB]
        assert store.asked == []

    @pytest.mark.parametrize(("says", "admitted"), [(Extended.HELD, [JOB]), (Extended.LOST, [])])
    async def test_of_a_reply_older_than_a_lease_the_store_is_asked(
        self, heartbeat: Heartbeat, store: Store, clock: FakeClock, says: Extended, admitted: list[object]
    ) -> None:
        store.says = says
        clock.jump(LEASE_S)

        assert await heartbeat.admit([JOB], sent_s=0.0) == admitted
        assert store.asked == [[LEASE]]

    async def test_a_renewal_is_late_after_half_a_lease(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE)]
        clock.jump(LEASE_S / 2)
        in_time = await heartbeat.renew_if_late()
        clock.jump(0.001)
        late = await heartbeat.renew_if_late()
        again = await heartbeat.renew_if_late()

        assert (in_time, late, again) == (False, True, False)
        assert store.asked == [[LEASE]]

    async def test_a_reaper_does_not_come_before_holders_that_cannot_renew(
        self, heartbeat: Heartbeat, store: Store, clock: FakeClock
    ) -> None:
        store.is_away = True
        clock.jump(LEASE_S)

        with pytest.raises(BackendUnavailableError):
            await heartbeat.renew_if_late()


class TestFromAThread:
    async def test_it_renews_each_lease_once_and_tells_the_loop(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, watch: LoopWatch
    ) -> None:
        worker.held = [Held(LEASE), Held(OTHER), Held(LEASE)]  # one moved while the snapshot was taken
        store.says = Extended.CANCEL_REQUESTED

        pause_s = await take_turn(heartbeat, store, watch)

        assert (store.asked, pause_s) == ([[LEASE, OTHER]], BEAT_S)
        assert worker.cancelled == [LEASE.job_id, OTHER.job_id]

    async def test_a_loop_that_hangs_keeps_nothing(
        self,
        heartbeat: Heartbeat,
        store: Store,
        worker: Worker,
        watch: LoopWatch,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        worker.held = [Held(LEASE)]
        clock.jump(LOOP_LIVENESS_S)
        await take_turn(heartbeat, store, watch)
        asked_before = len(store.asked)
        clock.jump(0.001)
        for _ in range(2):
            await take_turn(heartbeat, store, watch)

        assert (asked_before, len(store.asked)) == (1, 1)
        assert caplog.messages == ["leases could not be extended"]

        watch._tick()
        await take_turn(heartbeat, store, watch)
        assert len(store.asked) == 2

    async def test_an_attempt_is_kept_for_its_time_and_what_it_takes_to_give_it_back(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, watch: LoopWatch, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE, until_s=5.0), Held(OTHER)]
        clock.jump(5.0 + OVERTIME_S)
        await take_turn(heartbeat, store, watch)
        clock.jump(0.001)
        await take_turn(heartbeat, store, watch)

        assert store.asked == [[LEASE, OTHER], [OTHER]]

    async def test_a_try_that_fails_is_soon_followed_by_another_and_complained_of_once(
        self,
        heartbeat: Heartbeat,
        store: Store,
        worker: Worker,
        watch: LoopWatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        worker.held = [Held(LEASE)]
        store.is_away = True

        pauses_s = [await take_turn(heartbeat, store, watch) for _ in range(2)]

        assert pauses_s == [BEAT_S / 4] * 2
        assert caplog.messages == ["leases could not be extended"]

    async def test_no_word_of_a_lease_does_not_renew_it(
        self, heartbeat: Heartbeat, store: Store, worker: Worker, watch: LoopWatch, clock: FakeClock
    ) -> None:
        worker.held = [Held(LEASE, is_exclusive=True)]
        await heartbeat.admit([JOB], sent_s=0.0)
        store.says = None
        clock.jump(BEAT_S)
        await take_turn(heartbeat, store, watch)
        clock.jump(LEASE_S - MARGIN_S - BEAT_S)

        heartbeat._stop_lapsed()

        assert worker.interrupted == [LEASE]
