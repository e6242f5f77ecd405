"""Reports: what handlers say reaches the store soon, in few calls, and before their jobs are settled."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from random import Random

import pytest
from msgspec.structs import replace
from tests.unit.engine.jobs import running
from tests.unit.engine.slots import slot_with

from gotaskq.backend import Extended, Note
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import Deadlines
from gotaskq.engine.reports import FLUSH_EVERY_S, MAX_BATCH, OUTAGE_PAUSE_S, Reports
from gotaskq.engine.slot import Slot
from gotaskq.errors import BackendUnavailableError, StoreFullError
from gotaskq.events import JobProgressed
from gotaskq.job import Job, JobId, Lease, held_lease
from gotaskq.testing.clock import FakeClock

JOB = running()
LEASE = held_lease(JOB)


class NotedBackend(MemoryBackend):
    """Remembers what it was told; raises what it is given first, and may hold a call until it is let go."""

    def __init__(self, *, clock: FakeClock, rng: Random) -> None:
        super().__init__(clock=clock, rng=rng)
        self.calls: list[list[Note]] = []
        self.errors: list[Exception] = []
        self.reply = Extended.HELD
        self.let_go: asyncio.Event | None = None

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        self.calls.append(list(notes))
        if self.let_go is not None:
            await self.let_go.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [self.reply for _ in notes]

    @property
    def noted(self) -> list[Note]:
        return [note for call in self.calls for note in call]


@pytest.fixture
def backend(clock: FakeClock, rng: Random) -> NotedBackend:
    return NotedBackend(clock=clock, rng=rng)


@pytest.fixture
def slot() -> Slot:
    return slot_with(JOB)


@pytest.fixture
def told() -> list[JobProgressed]:
    return []


@pytest.fixture
def reports(backend: NotedBackend, clock: FakeClock, slot: Slot, told: list[JobProgressed]) -> Reports:
    bus = EventBus()
    bus.subscribe(JobProgressed, told.append)
    deadlines = Deadlines([slot], clock=clock, give_up=lambda _: None)
    return Reports(backend, deadlines=deadlines, bus=bus, clock=clock)


@pytest.fixture
async def loop(reports: Reports, clock: FakeClock) -> AsyncIterator["asyncio.Task[None]"]:
    """Write what comes while the test runs."""
    running = asyncio.create_task(reports.run())
    await clock.settle()
    yield running
    running.cancel()
    await asyncio.wait([running])


@pytest.fixture
def runs(loop: "asyncio.Task[None]") -> None:
    """Do as `loop`, for tests that do not look at it."""


def attempt(number: int, *, job_id: int = 7) -> Job:
    """Return a job in one of its attempts, each with a lease of its own."""
    return running(id=JobId(job_id), attempt=number, lease=Lease(JobId(job_id), f"attempt {number}"))


@pytest.mark.usefixtures("runs")
async def test_progress_is_stored_and_told(
    reports: Reports, backend: NotedBackend, clock: FakeClock, told: list[JobProgressed]
) -> None:
    reports.report_progress(JOB, 0.5, "half")
    await clock.settle()

    assert backend.calls == [[Note(LEASE, progress=0.5, text="half")]]
    assert told == [JobProgressed(JOB, 0.5, "half")]
    assert reports.is_empty


@pytest.mark.usefixtures("runs")
async def test_of_many_reports_the_latest_is_stored_a_few_times_a_second(
    reports: Reports, backend: NotedBackend, clock: FakeClock
) -> None:
    for step in range(100):
        reports.report_progress(JOB, step / 100, "")
        await clock.advance(FLUSH_EVERY_S / 50)
    await clock.advance(FLUSH_EVERY_S)

    assert len(backend.calls) == 3
    assert backend.noted[-1].progress == 0.99


@pytest.mark.usefixtures("runs")
async def test_a_flood_of_reports_wakes_the_loop_once(
    reports: Reports, backend: NotedBackend, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, woken = asyncio.get_running_loop(), []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda call, *args: woken.append(wake(call, *args)))

    def flood() -> None:
        for step in range(1_000):
            reports.report_progress(JOB, step / 1_000, "")

    await clock.settle()
    thread = threading.Thread(target=flood)
    thread.start()
    thread.join()
    await clock.settle()

    assert len(woken) == 1
    assert [note.progress for note in backend.noted] == [0.999]


async def test_progress_and_checkpoint_of_an_attempt_go_together(reports: Reports, backend: NotedBackend) -> None:
    reports.report_checkpoint(JOB, b'{"page":1}')
    reports.report_progress(JOB, 0.1, "one")
    reports.report_progress(JOB, 0.2, "two")
    reports.report_checkpoint(JOB, b'{"page":2}')

    await reports.write()

    assert backend.calls == [[Note(LEASE, progress=0.2, text="two", checkpoint_json=b'{"page":2}')]]


@pytest.mark.parametrize("comes_late", [True, False])
async def test_what_a_late_attempt_says_does_not_displace_what_the_next_one_does(
    reports: Reports, backend: NotedBackend, comes_late: bool
) -> None:
    abandoned, present = attempt(1), attempt(2)
    said = [(present, b'"present"'), (abandoned, b'"abandoned"')]

    for job, state in said if comes_late else reversed(said):
        reports.report_checkpoint(job, state)
    await reports.write()

    kept = {note.lease.nonce: note.checkpoint_json for note in backend.noted}
    assert kept == {"attempt 1": b'"abandoned"', "attempt 2": b'"present"'}  # the store tells them apart by the lease


async def test_a_report_the_store_refuses_is_not_told(
    reports: Reports, backend: NotedBackend, told: list[JobProgressed]
) -> None:
    backend.reply = Extended.LOST
    reports.report_progress(JOB, 0.5, "")

    await reports.write()

    assert told == []
    assert reports.is_empty


async def test_many_reports_are_written_in_batches(reports: Reports, backend: NotedBackend) -> None:
    for number in range(1, 2 * MAX_BATCH + 2):
        reports.report_checkpoint(attempt(1, job_id=number), b"1")

    await reports.write()

    assert [len(call) for call in backend.calls] == [MAX_BATCH, MAX_BATCH, 1]


# ---- the store is away, or full


async def test_what_could_not_be_written_is_kept_and_overtaken_by_what_came_later(
    reports: Reports, backend: NotedBackend
) -> None:
    backend.errors = [BackendUnavailableError("away")]
    backend.let_go = asyncio.Event()
    reports.report_progress(JOB, 0.1, "early")
    reports.report_checkpoint(JOB, b"1")
    writing = asyncio.create_task(reports.write())
    await asyncio.sleep(0)

    reports.report_progress(JOB, 0.2, "later")
    backend.let_go.set()
    with pytest.raises(BackendUnavailableError):
        await writing
    is_kept = not reports.is_empty
    await reports.write()

    assert is_kept
    assert backend.calls[-1] == [Note(LEASE, progress=0.2, text="later", checkpoint_json=b"1")]
    assert reports.is_empty


async def test_a_write_that_is_cancelled_loses_nothing(reports: Reports, backend: NotedBackend) -> None:
    backend.let_go = asyncio.Event()
    reports.report_checkpoint(JOB, b"1")
    writing = asyncio.create_task(reports.write())
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])

    backend.let_go.set()
    await reports.write()

    assert [note.checkpoint_json for note in backend.noted] == [b"1", b"1"]


async def test_reports_are_not_empty_while_a_write_is_under_way(reports: Reports, backend: NotedBackend) -> None:
    backend.let_go = asyncio.Event()
    reports.report_checkpoint(JOB, b"1")
    writing = asyncio.create_task(reports.write())
    await asyncio.sleep(0)
    was_empty = reports.is_empty

    second = asyncio.create_task(reports.write())
    await asyncio.sleep(0)
    was_done = second.done()
    backend.let_go.set()
    await asyncio.wait([writing, second])

    assert (was_empty, was_done) == (False, False)
    assert len(backend.calls) == 1


@pytest.mark.usefixtures("runs")
async def test_a_store_that_is_away_is_asked_once_a_second(
    reports: Reports, backend: NotedBackend, clock: FakeClock
) -> None:
    backend.errors = [BackendUnavailableError("away")] * 5
    reports.report_checkpoint(JOB, b"1")

    await clock.advance(4 * OUTAGE_PAUSE_S)
    asked = len(backend.calls)
    await clock.advance(OUTAGE_PAUSE_S)

    assert asked == 5
    assert len(backend.calls) == 6
    assert reports.is_empty


@pytest.mark.usefixtures("runs")
async def test_what_a_full_store_refuses_is_dropped_with_a_warning(
    reports: Reports, backend: NotedBackend, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    backend.errors = [StoreFullError(7)]
    reports.report_checkpoint(JOB, b"1")
    await clock.settle()
    is_empty = reports.is_empty

    reports.report_checkpoint(JOB, b"2")
    await clock.advance(FLUSH_EVERY_S)

    assert is_empty
    assert caplog.messages == ["reports_not_kept"]
    assert backend.noted[-1].checkpoint_json == b"2"


# ---- from threads


@pytest.mark.usefixtures("runs")
async def test_a_thread_may_report_and_ask_for_more_time(
    reports: Reports, backend: NotedBackend, clock: FakeClock, slot: Slot
) -> None:
    def work() -> None:
        reports.report_progress(JOB, 0.5, "from a thread")
        reports.extend(JOB, 60)

    await asyncio.to_thread(work)
    await clock.settle()

    assert [note.text for note in backend.noted] == ["from a thread"]
    assert slot.act_at_s == 60


def test_a_thread_that_outlives_the_loop_reports_into_the_void(reports: Reports) -> None:
    async def begin() -> None:
        running = asyncio.create_task(reports.run())
        await asyncio.sleep(0)
        running.cancel()

    asyncio.run(begin())
    errors: list[BaseException] = []

    def go_on() -> None:
        try:
            reports.report_progress(JOB, 0.5, "")
            reports.report_checkpoint(replace(JOB), b"1")
            reports.extend(JOB, 60)
        except RuntimeError as error:
            errors.append(error)

    left_behind = threading.Thread(target=go_on)
    left_behind.start()
    left_behind.join()

    assert errors == []
