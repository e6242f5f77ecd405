"""Which job goes first: by instant, then by priority, then by age; and queues take turns."""

import asyncio

from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Status, TaskQ
from gotaskq.testing.clock import FakeClock


class Recorder:
    """A handler that writes down what it runs; the job `first` holds the slot until it is let go."""

    def __init__(self) -> None:
        self.ran: list[object] = []
        self.let_go = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.ran.append(job.payload)
        if job.payload == "first":
            await self.let_go.wait()


async def test_a_delayed_job_runs_at_its_instant_and_not_before(app: TaskQ, clock: FakeClock) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("record", "later", delay=90)
        await clock.advance(89.999)
        early = list(recorder.ran)
        await clock.advance(0.001)
        done = await app.get(enqueued.id)

    assert early == []
    assert recorder.ran == ["later"]
    assert done.started_at_ms == enqueued.run_after_ms == enqueued.created_at_ms + 90_000


async def test_with_one_slot_the_highest_priority_goes_first_then_the_oldest(
    app: TaskQ, clock: FakeClock, until: Until
) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        await app.enqueue("record", "first")
        await until(lambda: bool(recorder.ran))
        for priority in (5, 0, 10, 5, 0, 10):
            await app.enqueue("record", [priority, clock.now_ms()], priority=priority)
            await clock.advance(0.001)
        recorder.let_go.set()
        await until(lambda: len(recorder.ran) == 7)

    order = [payload for payload in recorder.ran[1:] if isinstance(payload, list)]
    assert order == sorted(order, key=lambda payload: (-payload[0], payload[1]))
    assert [payload[0] for payload in order] == [10, 10, 5, 5, 0, 0]


async def test_a_job_that_is_not_due_does_not_go_first_whatever_its_priority(
    app: TaskQ, clock: FakeClock, until: Until
) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        await app.enqueue("record", "urgent", priority=10, delay=5)
        await app.enqueue("record", "plain")
        await clock.advance(10)

    assert recorder.ran == ["plain", "urgent"]


async def test_queues_take_turns_also_one_made_later(app: TaskQ, clock: FakeClock, until: Until) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        for queue in ("a", "b"):
            await app.create_queue(queue)
        await app.enqueue("record", "first")
        await until(lambda: bool(recorder.ran))
        await app.create_queue("c")
        for queue in ("a", "b", "c"):
            for number in range(1, 4):
                await app.enqueue("record", f"{queue}{number}", queue=queue)
        recorder.let_go.set()
        await until(lambda: len(recorder.ran) == 10)

    assert recorder.ran[1:] == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]


async def test_a_queue_made_while_idle_is_served(app: TaskQ, clock: FakeClock, until: Until) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        await clock.advance(30)
        await app.create_queue("late")
        await app.enqueue("record", "late", queue="late")
        await until(lambda: recorder.ran == ["late"])


async def test_a_flooded_queue_does_not_starve_another(make_app: MakeApp, clock: FakeClock, until: Until) -> None:
    app = make_app()
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        await app.create_queue("quiet")
        await app.enqueue("record", "first")
        await until(lambda: bool(recorder.ran))
        for number in range(200):
            await app.enqueue("record", number, priority=10)
        await app.enqueue("record", "quiet", queue="quiet")
        recorder.let_go.set()
        await until(lambda: len(recorder.ran) == 202)

    assert recorder.ran.index("quiet") <= 2


async def test_no_more_jobs_run_at_once_than_there_are_slots(app: TaskQ, clock: FakeClock, until: Until) -> None:
    running: set[int] = set()
    most = 0

    @app.handler("work")
    async def work(job: Job) -> None:
        nonlocal most
        running.add(job.id)
        most = max(most, len(running))
        await clock.sleep(1)
        running.remove(job.id)

    async with app, app.workers(concurrency=3):
        jobs = [await app.enqueue("work") for _ in range(20)]
        await clock.advance(30)
        statuses = {(await app.get(job.id)).status for job in jobs}

    assert most == 3
    assert statuses == {Status.DONE}


async def test_a_paused_queue_rests_until_it_is_resumed(app: TaskQ, clock: FakeClock, until: Until) -> None:
    recorder = app.handler("record")(Recorder())

    async with app, app.workers(concurrency=1):
        await app.create_queue("mail")
        await app.pause("mail")
        await app.enqueue("record", "paused", queue="mail")
        await app.enqueue("record", "open")
        await clock.advance(10)
        while_paused = list(recorder.ran)
        await app.resume("mail")
        await until(lambda: len(recorder.ran) == 2)

    assert while_paused == ["open"]
    assert recorder.ran == ["open", "paused"]
