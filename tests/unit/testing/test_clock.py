"""FakeClock: who waits is woken in order, at the exact instant, and never by anything but `advance`."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotaskq.testing.clock import SETTLE_ROUNDS, START_MS, FakeClock


async def note_after(clock: FakeClock, delay_s: float, woken_ms: list[int]) -> None:
    await clock.sleep(delay_s)
    woken_ms.append(clock.now_ms() - START_MS)


async def test_time_stands_still_by_itself(clock: FakeClock) -> None:
    await asyncio.sleep(0)

    assert datetime.fromtimestamp(clock.now_ms() / 1000, UTC) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert clock.monotonic_s() == 0


async def test_advance_moves_both_clocks(clock: FakeClock) -> None:
    await clock.advance(1.5)

    assert clock.now_ms() == START_MS + 1500
    assert clock.monotonic_s() == 1.5


async def test_small_steps_do_not_drift(clock: FakeClock) -> None:
    for _ in range(100):
        await clock.advance(0.1)

    assert clock.now_ms() == START_MS + 10_000
    assert clock.monotonic_s() == 10


async def test_time_does_not_advance_backwards(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="step_back"):
        await clock.advance(-1)


async def test_sleepers_wake_in_order_each_at_its_instant(clock: FakeClock) -> None:
    woken_ms: list[int] = []
    async with asyncio.TaskGroup() as sleepers:
        for delay_s in (3, 0.25, 1, 2.001):
            sleepers.create_task(note_after(clock, delay_s, woken_ms))

        await clock.advance(2.5)
        before = list(woken_ms)
        await clock.advance(0.5)

    assert before == [250, 1000, 2001]
    assert woken_ms == [250, 1000, 2001, 3000]


async def test_sleepers_of_one_instant_wake_in_the_order_they_fell_asleep(clock: FakeClock) -> None:
    woken: list[str] = []

    async def note(name: str) -> None:
        await clock.sleep(1)
        woken.append(name)

    async with asyncio.TaskGroup() as sleepers:
        for name in "abc":
            sleepers.create_task(note(name))
        await clock.advance(1)

    assert woken == ["a", "b", "c"]


async def test_who_falls_asleep_again_on_the_way_is_woken_again(clock: FakeClock) -> None:
    beats: list[float] = []

    async def beat() -> None:
        while True:
            await clock.sleep(10)
            beats.append(clock.monotonic_s())

    heart = asyncio.create_task(beat())
    await clock.advance(35)
    heart.cancel()
    await clock.settle()

    assert beats == [10, 20, 30]


async def test_a_sleep_of_zero_yields_without_time_passing(clock: FakeClock) -> None:
    await clock.sleep(0)
    await clock.sleep(-1)

    assert clock.monotonic_s() == 0
    assert clock.pending == 0


async def test_a_cancelled_sleeper_is_dropped(clock: FakeClock) -> None:
    sleeper = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    waiting = clock.pending

    sleeper.cancel()
    await clock.settle()

    assert sleeper.cancelled()
    assert (waiting, clock.pending) == (1, 0)


async def test_a_timeout_fires_at_its_instant(clock: FakeClock) -> None:
    fired_s: list[float] = []

    async def wait_for_nothing() -> None:
        with pytest.raises(TimeoutError):
            async with clock.timeout(30):
                await asyncio.Event().wait()
        fired_s.append(clock.monotonic_s())

    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_nothing())
        await clock.advance(29.999)
        early = list(fired_s)
        await clock.advance(60)

    assert early == []
    assert fired_s == [30]


async def test_timeouts_and_sleeps_pass_in_order(clock: FakeClock) -> None:
    async def race(delay_s: float, *, timeout_s: float) -> str:
        try:
            async with clock.timeout(timeout_s):
                await clock.sleep(delay_s)
        except TimeoutError:
            return "late"
        return "done"

    async with asyncio.TaskGroup() as group:
        quick = group.create_task(race(1, timeout_s=2))
        slow = group.create_task(race(2, timeout_s=1))
        await clock.advance(10)

    assert (quick.result(), slow.result()) == ("done", "late")
    assert clock.pending == 0


async def test_nested_timeouts_fire_the_inner_one_alone(clock: FakeClock) -> None:
    async def work() -> str:
        async with clock.timeout(10):
            try:
                async with clock.timeout(1):
                    await clock.sleep(5)
            except TimeoutError:
                await clock.sleep(1)
                return "inner"
        return "none"

    task = asyncio.create_task(work())
    await clock.advance(20)

    assert task.result() == "inner"


@pytest.mark.parametrize("delay_s", [0, -1])
async def test_a_timeout_of_no_time_fires_at_the_first_wait(clock: FakeClock, delay_s: float) -> None:
    reached = False

    async def wait() -> None:
        nonlocal reached
        async with clock.timeout(delay_s):
            reached = True
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()

    assert reached


async def test_a_timeout_counts_from_when_it_was_made(clock: FakeClock) -> None:
    timeout = clock.timeout(1)
    await clock.advance(2)

    with pytest.raises(TimeoutError):
        async with timeout:
            await asyncio.Event().wait()


async def test_no_timeout_never_fires(clock: FakeClock) -> None:
    released = asyncio.Event()

    async def wait() -> bool:
        async with clock.timeout(None):
            return await released.wait()

    task = asyncio.create_task(wait())
    await clock.advance(1e9)
    released.set()

    assert await task


async def test_a_timeout_that_was_not_needed_is_dropped(clock: FakeClock) -> None:
    async with clock.timeout(1) as timeout:
        inside = clock.pending

    await clock.advance(2)

    assert (inside, clock.pending) == (1, 0)
    assert not timeout.expired()


async def test_cancelling_from_outside_is_no_timeout(clock: FakeClock) -> None:
    async def wait() -> None:
        async with clock.timeout(1):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await clock.settle()
    task.cancel()
    await clock.advance(2)

    assert task.cancelled()
    assert clock.pending == 0


async def test_the_wall_clock_can_step_without_waking_anybody(clock: FakeClock) -> None:
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.advance(5)

    clock.step_back(3600)
    back_ms = clock.now_ms()
    clock.set_now_ms(START_MS + 86_400_000)
    await clock.advance(4.999)
    early = sleeper.done()
    await clock.advance(0.001)

    assert back_ms == START_MS + 5_000 - 3_600_000
    assert not early
    assert sleeper.done()
    assert clock.now_ms() == START_MS + 86_405_000
    assert clock.monotonic_s() == 10


async def test_settle_lets_a_chain_of_tasks_run_to_its_end(clock: FakeClock) -> None:
    links = [asyncio.Event() for _ in range(SETTLE_ROUNDS - 2)]

    async def pass_on(place: int) -> None:
        await links[place].wait()
        if place + 1 < len(links):
            links[place + 1].set()

    async with asyncio.TaskGroup() as chain:
        for place in range(len(links)):
            chain.create_task(pass_on(place))
        await clock.settle()
        links[0].set()
        await clock.settle()

        assert links[-1].is_set()


async def test_settle_ends_though_a_task_never_rests(clock: FakeClock) -> None:
    async def spin() -> None:
        while True:
            await clock.sleep(0)

    spinner = asyncio.create_task(spin())
    await clock.advance(1)
    spinner.cancel()
    await clock.settle()

    assert spinner.cancelled()


@settings(max_examples=40)
@given(delays_ms=st.lists(st.integers(1, 5_000), max_size=20), steps_ms=st.lists(st.integers(0, 3_000), max_size=10))
def test_whatever_the_steps_everybody_is_woken_at_the_instant_asked_for(
    delays_ms: list[int], steps_ms: list[int]
) -> None:
    woken_ms: list[int] = []

    async def run() -> int:
        clock = FakeClock()
        sleepers = [asyncio.create_task(note_after(clock, ms / 1000, woken_ms)) for ms in delays_ms]
        for step_ms in steps_ms:
            await clock.advance(step_ms / 1000)
        waiting = clock.pending
        for sleeper in sleepers:
            sleeper.cancel()
        await clock.settle()
        assert clock.pending == 0
        return waiting

    waiting = asyncio.run(run())

    due = sorted(ms for ms in delays_ms if ms <= sum(steps_ms))
    assert woken_ms == (due if steps_ms else [])
    assert waiting == (len(delays_ms) - len(due) if steps_ms else 0)
