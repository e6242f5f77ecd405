"""A worker that serves only some queues, by weight, and owns them."""

from collections import Counter

from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Settings, Status, StrictPriority, TaskQ
from gotaskq.testing.clock import FakeClock


def with_handler(app: TaskQ) -> list[str]:
    """Give the app a handler, and return the list of queues whose jobs it ran."""
    ran: list[str] = []

    @app.handler("note")
    async def note(job: Job) -> None:
        ran.append(job.queue)

    return ran


async def test_only_the_named_queues_are_served_and_they_are_made_where_missing(
    make_app: MakeApp, until: Until, clock: FakeClock
) -> None:
    app = make_app(settings=Settings(queues={"mail": 1}))
    ran = with_handler(app)

    async with app, app.workers(1):
        names = list(await app.queues())
        left = await app.enqueue("note")
        await app.enqueue("note", queue="mail")
        await until(lambda: bool(ran))
        await clock.advance(60)

        assert names == ["default", "mail"]
        assert ran == ["mail"]
        assert (await app.get(left.id)).status is Status.PENDING


async def test_a_named_queue_that_is_there_is_served_as_it_is(make_app: MakeApp, until: Until) -> None:
    app = make_app(settings=Settings(queues={"default": 2}))
    ran = with_handler(app)

    async with app, app.workers(1):
        await app.enqueue("note")
        await until(lambda: bool(ran))

        assert list(await app.queues()) == ["default"]


async def test_one_slot_shares_its_jobs_by_weight(make_app: MakeApp, until: Until) -> None:
    app = make_app(settings=Settings(queues={"a": 3, "b": 1}))
    ran = with_handler(app)
    async with app:
        for queue in ("a", "b"):
            await app.create_queue(queue)
            await app.enqueue_many([app.job("note", queue=queue) for _ in range(30)])

        async with app.workers(1):
            await until(lambda: len(ran) == 60)

    assert Counter(ran[:20])["a"] in (15, 16)  # the first job is fetched alone, the others in whole rounds


async def test_a_selector_the_app_chose_orders_the_named_queues(make_app: MakeApp, until: Until) -> None:
    app = make_app(settings=Settings(queues={"a": 9, "b": 1}), selector=lambda: StrictPriority("b"))
    ran = with_handler(app)
    async with app:
        for queue in ("a", "b"):
            await app.create_queue(queue)
            await app.enqueue_many([app.job("note", queue=queue) for _ in range(5)])

        async with app.workers(1):
            await until(lambda: len(ran) == 10)

    assert ran == ["b"] * 5 + ["a"] * 5
