"""The log of events: who gets what, who is cut off, and what can be gone on from."""

import pytest

from gotaskq import TaskQ
from gotaskq.api.happenings import MOST_BEHIND, Filter, Happenings, Kept, Watcher
from gotaskq.events import JobDied, JobDone, JobEnqueued
from gotaskq.happening import Happening
from gotaskq.happening_log import KEPT, KEPT_FOR_S
from gotaskq.job import DeathReason, Job, Status


class Watched:
    """A log whose events the test makes."""

    def __init__(self, app: TaskQ) -> None:
        self.app = app
        self.now_s = 0.0
        self.log = Happenings(app, clock_s=lambda: self.now_s)

    def tell(self, job: Job, *, times: int = 1) -> None:
        for _ in range(times):
            self.app._bus.publish(JobEnqueued(job))

    def numbers_since(self, number: int) -> list[int] | None:
        found = self.log.since(number)
        return None if found is None else [number_of(kept) for kept in found]


@pytest.fixture
async def watched() -> Watched:
    return Watched(TaskQ())


async def job_of(job_type: str = "email", queue: str = "default") -> Job:
    app = TaskQ()
    async with app:
        if queue != "default":
            await app.create_queue(queue)
        return await app.enqueue(job_type, {"secret": 1}, queue=queue)


def names(watcher: Watcher) -> list[str]:
    return [happening.name for happening in told(watcher)]


def told(watcher: Watcher) -> list[Happening]:
    return [kept.happening for kept in watcher.unread if kept.happening is not None]


def number_of(kept: Kept) -> int:
    return int(kept.id.partition("-")[2])


async def test_nothing_is_kept_while_nobody_watches(watched: Watched) -> None:
    watched.tell(await job_of(), times=3)

    assert (watched.log.last, watched.numbers_since(0)) == (0, [])


async def test_each_event_comes_with_what_it_is_about_and_no_payload(watched: Watched) -> None:
    watcher, job = watched.log.watch(Filter()), await job_of(queue="mail")

    watched.app._bus.publish_batch([JobDone(job, 0.1)])
    watched.app._bus.publish(JobDied(job, DeathReason.NO_RETRY, "E: no", None))

    done, died = told(watcher)
    first, second = watcher.unread
    assert (done.name, done.job_id, done.type, done.queue) == ("job.done", job.id, "email", "mail")
    assert (died.name, died.error, number_of(second)) == ("job.dead", "E: no", number_of(first) + 1)
    assert "secret" not in repr(done)


@pytest.mark.parametrize(
    ("wanted", "admitted"),
    [
        (Filter(), 3),
        (Filter(queue="mail"), 1),
        (Filter(type="email"), 2),
        (Filter(queue="mail", type="email"), 1),
        (Filter(queue="mail", type="other"), 0),
        (Filter(status=Status.PENDING), 3),
        (Filter(status=Status.DONE), 0),
        (Filter(queue="default", status=Status.PENDING), 2),
    ],
)
async def test_a_watcher_gets_what_it_wants_once(watched: Watched, wanted: Filter, admitted: int) -> None:
    watcher = watched.log.watch(wanted)

    for job in (await job_of(), await job_of(queue="mail"), await job_of("logger")):
        watched.tell(job)

    assert len(watcher.unread) == admitted


async def test_one_job_can_be_watched_alone(watched: Watched) -> None:
    mine, other = await job_of(), await job_of()
    watcher = watched.log.watch(Filter(job_id=mine.id))

    watched.tell(other)
    watched.tell(mine)

    assert [happening.job_id for happening in told(watcher)] == [mine.id]


async def test_who_reads_too_slowly_is_cut_off_and_the_others_are_not(watched: Watched) -> None:
    slow, quick = watched.log.watch(Filter()), watched.log.watch(Filter(queue="none"))

    watched.tell(await job_of(), times=MOST_BEHIND + 1)

    assert (slow.is_behind, len(slow.unread), quick.is_behind) == (True, MOST_BEHIND, False)


async def test_a_watcher_can_go_on_from_any_number_that_is_kept(watched: Watched) -> None:
    watched.log.watch(Filter(queue="none"))
    watched.tell(await job_of(), times=KEPT + 5)

    assert watched.numbers_since(KEPT + 3) == [KEPT + 4, KEPT + 5]
    assert watched.numbers_since(KEPT + 5) == []
    assert watched.numbers_since(5) == list(range(6, KEPT + 6))
    assert watched.numbers_since(4) is None, "event 5 is forgotten"
    assert watched.numbers_since(KEPT + 6) is None, "that has not happened"


async def test_it_is_kept_for_a_while_for_those_who_come_back(watched: Watched) -> None:
    job = await job_of()
    watched.log.leave(watched.log.watch(Filter()))

    watched.tell(job)
    watched.now_s += KEPT_FOR_S
    watched.tell(job)
    watched.log.watch(Filter())

    assert watched.numbers_since(0) == [1, 2]


async def test_what_happened_unwatched_for_longer_is_a_gap(watched: Watched) -> None:
    job = await job_of()
    watched.log.leave(watched.log.watch(Filter()))
    watched.tell(job)
    seen = watched.log.last

    watched.now_s += KEPT_FOR_S + 1
    watched.tell(job)
    watched.log.watch(Filter())

    assert watched.numbers_since(seen) is None
    watched.tell(job)
    assert watched.numbers_since(watched.log.last - 1) == [watched.log.last]
