"""A flaky store does what it is told, as many times as it is told, and nothing else."""

import asyncio
from random import Random

import pytest

from gotaskq import TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.errors import BackendUnavailableError, GotaskqError
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs, counted, counts, enqueue


@pytest.fixture
async def flaky(clock: FakeClock, rng: Random) -> FlakyBackend:
    flaky = FlakyBackend(MemoryBackend(clock=clock, rng=rng))
    await flaky.open()
    return flaky


async def test_a_call_that_fails_does_not_reach_the_store(flaky: FlakyBackend, clock: FakeClock, rng: Random) -> None:
    job = Jobs(clock, rng)()
    flaky.fail("enqueue", times=2)

    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="enqueue"):
            await flaky.enqueue([job])
    assert await counts(flaky) == counted()

    await enqueue(flaky, job)
    assert await counts(flaky) == counted(ready=1)


async def test_an_error_of_ones_own_is_raised(flaky: FlakyBackend) -> None:
    flaky.fail("queues", error=RuntimeError("out of order"))

    with pytest.raises(RuntimeError, match="out of order"):
        await flaky.queues()


async def test_a_lost_reply_is_lost_after_the_deed(flaky: FlakyBackend, clock: FakeClock, rng: Random) -> None:
    flaky.lose_reply("enqueue")

    with pytest.raises(BackendUnavailableError, match="lost"):
        await flaky.enqueue([Jobs(clock, rng)()])

    assert await counts(flaky) == counted(ready=1)


async def test_a_late_call_waits_for_its_event(flaky: FlakyBackend, clock: FakeClock) -> None:
    let_go = asyncio.Event()
    flaky.delay("create_queue", until=let_go)

    creating = asyncio.create_task(flaky.create_queue("mail"))
    await clock.settle()
    before = list(await flaky.queues())
    let_go.set()

    assert await creating
    assert (before, list(await flaky.queues())) == (["default"], ["default", "mail"])


async def test_a_method_that_is_none_is_refused(flaky: FlakyBackend) -> None:
    with pytest.raises(ValueError, match="no method 'save'; it has amend, cancel, close"):
        flaky.fail("save")


async def test_before_no_store_it_says_so() -> None:
    with pytest.raises(GotaskqError, match="around"):
        await FlakyBackend().open()


async def test_an_app_whose_store_fails_says_which_job_is_in_doubt() -> None:
    flaky = FlakyBackend()
    async with TaskQ().override(wrap=flaky.around) as app:
        flaky.lose_reply("enqueue")

        with pytest.raises(BackendUnavailableError) as error:
            await app.enqueue("email")

        [stored] = (await app.list_jobs()).jobs
        assert error.value.job_id == stored.id
