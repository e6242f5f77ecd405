"""When a process has served long enough, and that a fleet does not think so all at once."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq import Settings
from gotaskq.errors import ConfigError
from gotaskq.processes.recycling import LOOK_EVERY_S, SPREAD, Limits, Recycling, refuse_small_rss, resident_bytes
from gotaskq.testing.clock import FakeClock

MB = 10**6


class Memory:
    """A process's memory, as large as the test says."""

    def __init__(self) -> None:
        self.held = 0
        self.looks = 0

    def read(self) -> int:
        self.looks += 1
        return self.held


class Watch:
    """A watch over limits that is under way."""

    def __init__(self, limits: Limits, clock: FakeClock) -> None:
        self.memory = Memory()
        self.is_kept = False
        recycling = Recycling(limits, clock=clock, read_rss=self.memory.read, is_kept=lambda: self.is_kept)
        self._due = asyncio.create_task(recycling.due())
        self._clock = clock

    async def after(self, seconds: float) -> str | None:
        """Let time pass, and return the limit that was reached by then."""
        await self._clock.advance(seconds)
        return self._due.result() if self._due.done() else None

    async def end(self) -> None:
        self._due.cancel()
        await asyncio.wait([self._due])


async def test_a_process_is_due_at_the_end_of_its_age_and_not_before(clock: FakeClock) -> None:
    watch = Watch(Limits(max_age_s=3_601), clock)

    assert await watch.after(3_600.9) is None
    assert await watch.after(0.1) == "MAX_AGE"
    assert watch.memory.looks == 0


async def test_a_process_is_due_when_it_has_grown_too_large(clock: FakeClock) -> None:
    watch = Watch(Limits(max_rss_bytes=500 * MB), clock)
    watch.memory.held = 499 * MB

    assert await watch.after(3_600) is None
    watch.memory.held = 500 * MB
    assert await watch.after(LOOK_EVERY_S) == "MAX_RSS"


async def test_memory_is_looked_at_rarely(clock: FakeClock) -> None:
    watch = Watch(Limits(max_rss_bytes=1, max_age_s=10_000_000), clock)
    watch.memory.held = 0

    await watch.after(3_600)

    assert watch.memory.looks <= 3_600 / LOOK_EVERY_S
    await watch.end()


async def test_without_limits_a_process_is_never_due(clock: FakeClock) -> None:
    watch = Watch(Limits(), clock)
    watch.memory.held = 1 << 60

    assert await watch.after(86_400) is None
    await watch.end()


async def test_a_process_that_is_kept_is_due_when_it_is_kept_no_more(clock: FakeClock) -> None:
    watch = Watch(Limits(max_age_s=7), clock)
    watch.is_kept = True

    assert await watch.after(3_600) is None
    watch.is_kept = False
    assert await watch.after(LOOK_EVERY_S) == "MAX_AGE"


@given(
    max_jobs=st.none() | st.integers(1, 10**9),
    max_rss_bytes=st.none() | st.integers(16 << 20, 1 << 40),
    max_age_s=st.none() | st.floats(1, 10**9),
    seed=st.integers(),
)
def test_a_drawn_limit_is_at_most_a_tenth_below_what_was_set(
    max_jobs: int | None, max_rss_bytes: int | None, max_age_s: float | None, seed: int
) -> None:
    drawn = Limits(max_jobs, max_rss_bytes, max_age_s).drawn(Random(seed))

    for mine, limit in zip(
        (drawn.max_jobs, drawn.max_rss_bytes, drawn.max_age_s), (max_jobs, max_rss_bytes, max_age_s), strict=True
    ):
        if limit is None:
            assert mine is None
        else:
            assert mine is not None
            assert int((1 - SPREAD) * limit) <= mine <= limit
    assert bool(drawn) == any(limit is not None for limit in (max_jobs, max_rss_bytes, max_age_s))


def test_processes_that_were_started_together_end_apart() -> None:
    rng = Random(1)

    ages_s = {Limits(max_age_s=3_600).drawn(rng).max_age_s for _ in range(64)}

    assert len(ages_s) == 64


def test_settings_of_nought_are_no_limits() -> None:
    assert Limits.of(Settings()) == Limits()
    assert Limits.of(Settings(max_jobs=5, max_rss_bytes=7, max_age_ms=1_500)) == Limits(5, 7, 1.5)


@pytest.mark.parametrize(("limit_mb", "held_mb", "least"), [(100, 95, "101MiB"), (100, 90, None), (64, 1_000, None)])
def test_a_limit_below_what_is_held_at_the_start_is_refused(limit_mb: int, held_mb: int, least: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        refuse_small_rss(Limits(max_rss_bytes=limit_mb * MB), rss_bytes=held_mb * MB)

    message = str(refused.value)
    assert message.startswith(f"MAX_RSS='{limit_mb}MB': more than ")
    assert least is None or least in message


def test_a_limit_above_what_is_held_is_fine() -> None:
    refuse_small_rss(Limits(max_rss_bytes=100 * MB), rss_bytes=89 * MB)
    refuse_small_rss(Limits(max_age_s=1), rss_bytes=10**12)


def test_this_process_holds_some_memory() -> None:
    assert 5 * MB < resident_bytes() < 1 << 40
