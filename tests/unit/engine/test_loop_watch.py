"""The loop watch: a stall is told of once, with where the loop is, and counted once."""

import threading

import pytest

from gotaskq.engine.loop_watch import LAGS_KEPT, STALL_S, TICK_S, LoopWatch, stack_of
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def stalls() -> list[float]:
    return []


@pytest.fixture
def watch(clock: FakeClock, stalls: list[float]) -> LoopWatch:
    return LoopWatch(clock=clock, on_stall=stalls.append)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if message == "the event loop stands still"]


def test_a_loop_that_ticks_is_left_alone(
    watch: LoopWatch, clock: FakeClock, stalls: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        clock.jump(TICK_S + STALL_S)
        watch._look()
        watch._tick()

    assert (told(caplog), stalls) == ([], [])
    assert watch.lag_s == STALL_S


def test_a_stall_is_told_of_once_while_it_lasts_and_counted_when_it_is_over(
    watch: LoopWatch, clock: FakeClock, stalls: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        clock.jump(TICK_S + STALL_S)
        watch._look()
    assert (len(told(caplog)), stalls) == (1, [])

    watch._tick()
    watch._look()

    assert (len(told(caplog)), stalls) == (1, [2 * TICK_S + 3 * STALL_S])


def test_a_stall_that_nobody_saw_is_counted_all_the_same(
    watch: LoopWatch, clock: FakeClock, stalls: list[float]
) -> None:
    clock.jump(TICK_S + 60)
    watch._tick()

    assert stalls == [60.0]


def test_the_lag_forgets_what_is_long_ago(watch: LoopWatch, clock: FakeClock) -> None:
    clock.jump(TICK_S + 0.5)
    watch._tick()
    before = watch.lag_s

    for _ in range(LAGS_KEPT):
        clock.jump(TICK_S)
        watch._tick()

    assert (before, watch.lag_s) == (0.5, 0.0)


def test_a_stack_names_calls_and_no_values() -> None:
    secret = "swordfish"  # noqa: F841 - must not be shown

    stack = stack_of(threading.get_ident())

    assert "stack_of" in stack
    assert "test_a_stack_names_calls_and_no_values (" in stack
    assert "swordfish" not in stack


def test_a_deep_stack_is_cut() -> None:
    def dive(depth: int) -> str:
        return dive(depth - 1) if depth else stack_of(threading.get_ident())

    assert dive(200).count(" < ") < 30


def test_a_thread_that_is_gone_has_no_stack() -> None:
    assert stack_of(0) == ""
