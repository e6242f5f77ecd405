"""The intake: a lone job's own script, and the time after which callers are answered though the store says nothing."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest

from gotaskq.backend import Enqueued
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.intake import ANSWER_WITHIN_S, Intake
from gotaskq.backends.redis.registry import Registry
from gotaskq.backends.redis.scripts import Script
from gotaskq.backends.redis.wakeups import WakeUps
from gotaskq.backends.redis.wire import Heard
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import DEFAULT_QUEUE, Job
from gotaskq.snowflake import SpreadIds
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs


class Store:
    """Stands in for the connection and what knows of queues; answers each call when told to."""

    is_reachable = True

    def __init__(self) -> None:
        self.calls: list[tuple[Script, Sequence[Any]]] = []
        self.given_up: list[int] = []
        self.paused = {DEFAULT_QUEUE: False}
        self._heard: list[Heard] = []

    def run_soon(self, script: Script, partition: int, arguments: Sequence[Any], heard: Heard) -> bool:
        self.calls.append((script, arguments))
        self._heard.append(heard)
        return True

    def answer(self, number: int, reply: bytes) -> None:
        self._heard[number](reply)

    def give_up_on(self, partition: int, *, since_s: float) -> None:
        self.given_up.append(partition)

    def limits(self, jobs: Sequence[Job]) -> int:
        return 1_000

    def hear_rates(self, reply: bytes, partition: int) -> None:
        pass

    def wake(self, queue: str) -> None:
        pass


class LoopTime:
    """The loop's time, which goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now_s = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self._now_s)

    async def advance(self, seconds: float) -> None:
        await turns()
        self._now_s += seconds
        await turns()


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def intake(store: Store) -> Intake:
    stand_in: Any = store
    return Intake(
        cast("Connection", stand_in), cast("Registry", stand_in), cast("WakeUps", stand_in), StoreLimits(), store
    )


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


async def test_a_lone_job_that_is_not_stored_is_asked_after(store: Store, intake: Intake, job: Jobs) -> None:
    storing = asyncio.create_task(intake.store([job()]))
    await turns()

    store.answer(0, b"")
    store.answer(1, b"F")

    assert await storing == [Enqueued.FULL]
    assert [script for script, _ in store.calls] == [Script.ENQUEUE_ONE, Script.ENQUEUE]
    await intake.drained()


@pytest.mark.parametrize(
    "terms", [{"delay_s": 1}, {"schedule_s": 1}, {"unique_key": "k"}], ids=["delayed", "expires", "unique"]
)
async def test_a_job_with_terms_goes_by_the_script_for_all(
    store: Store, intake: Intake, job: Jobs, terms: dict[str, Any]
) -> None:
    storing = asyncio.create_task(intake.store([job(**terms)]))
    await turns()
    store.answer(0, b"O")

    assert await storing == [Enqueued.OK]
    assert [script for script, _ in store.calls] == [Script.ENQUEUE]
    await intake.drained()


async def test_each_call_is_given_up_on_when_its_own_time_is_over(
    store: Store, intake: Intake, job: Jobs, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, ids = LoopTime(monkeypatch), SpreadIds(Random(1), partitions=2)
    waiting = []
    for _ in range(2):
        waiting.append(asyncio.create_task(intake.store([job(job_id=ids.draw(clock.now_ms()))])))
        ids.turn()
        await time.advance(ANSWER_WITHIN_S / 2)
    first, second = waiting

    is_first_over = first.done()
    is_second_over = second.done()
    store.answer(0, b"O")  # nobody waits for it any more
    await time.advance(ANSWER_WITHIN_S / 2)

    assert (is_first_over, is_second_over) == (True, False)
    assert [type(call.exception()) for call in waiting] == [BackendUnavailableError] * 2
    assert sorted(store.given_up) == [0, 1]
    await intake.drained()


async def test_a_call_that_is_answered_in_time_is_not_given_up_on(
    store: Store, intake: Intake, job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = LoopTime(monkeypatch)
    answered = asyncio.create_task(intake.store([job()]))
    await time.advance(ANSWER_WITHIN_S / 2)
    store.answer(0, b"O")
    late = asyncio.create_task(intake.store([job()]))
    await time.advance(ANSWER_WITHIN_S * 0.75)
    was_late_over = late.done()
    await time.advance(ANSWER_WITHIN_S * 0.5)

    assert await answered == [Enqueued.OK]
    assert (was_late_over, type(late.exception()), len(store.given_up)) == (False, BackendUnavailableError, 1)
    await intake.drained()
