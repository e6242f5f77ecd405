"""The side thread: takes its turns beside the loop, and its owner's end never waits for it for long."""

import asyncio
import threading

import pytest

from gotaskq.clock import SystemClock
from gotaskq.engine import side_thread
from gotaskq.engine.side_thread import SideThread
from gotaskq.testing.clock import FakeClock

WAIT_S = 30.0  # a thread that never says so must not hold the tests up


async def test_it_takes_turns_until_its_owner_is_done_and_then_closes() -> None:
    pauses_s, taken, closed = [0.0, 0.0, 3_600.0], threading.Event(), threading.Event()

    def turn() -> float:
        pause_s = pauses_s.pop(0)
        if not pauses_s:
            taken.set()
        return pause_s

    async with SideThread("t", turn, close=closed.set, clock=SystemClock()):
        await asyncio.to_thread(taken.wait, WAIT_S)

    assert (pauses_s, closed.is_set()) == ([], True)


async def test_a_turn_that_fails_is_not_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_thread, "FAULT_PAUSE_S", 0.0)
    bugs, taken = [ValueError("a bug")], threading.Event()

    def turn() -> float:
        if bugs:
            raise bugs.pop()
        taken.set()
        return 3_600.0

    async with SideThread("t", turn, close=lambda: None, clock=SystemClock()):
        await asyncio.to_thread(taken.wait, WAIT_S)

    assert caplog.messages == ["a thread failed, and goes on"]


async def test_a_turn_that_hangs_is_left_behind(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    hangs, let_go, closed = threading.Event(), threading.Event(), threading.Event()

    def turn() -> float:
        hangs.set()
        let_go.wait()
        return 0.0

    async def own() -> None:
        async with SideThread("t", turn, close=closed.set, clock=clock):
            await asyncio.to_thread(hangs.wait, WAIT_S)

    owner = asyncio.create_task(own())
    while not clock.pending:  # noqa: ASYNC110 - a thread says that it hangs, and no event of this loop
        await asyncio.sleep(0)
    await clock.advance(side_thread.END_S)
    await owner

    assert "a thread would not end in time and is left behind" in caplog.messages
    let_go.set()
    await asyncio.to_thread(closed.wait, WAIT_S)
