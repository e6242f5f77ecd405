"""A clock that a test moves by hand: sleeps, timeouts, backoff and leases pass in order, without waiting.

Pass it wherever a Clock is asked for, then `await clock.advance(90)`.
Invariant: whoever waits is woken at exactly the instant asked for, one after the other, and the loop settles between.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from gotaskq.clock import Clock

START_MS: Final = 1_795_428_000_000  # 2026-11-23T10:00:00Z
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
SETTLE_ROUNDS: Final = 32  # one round per hand-over from task to task; the longest chain we know has about ten


class MovableClock(Clock, Protocol):
    """A clock that a test moves forward; one for a real server moves the server's idea of time with it."""

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, and let whoever it wakes run."""
        ...


class _Alarm(NamedTuple):
    due_ns: int
    number: int  # so that alarms due at one instant ring in the order they were set
    ring: Callable[[], None]


class _Timeline:
    """The time that has passed, and who waits for which instant of it."""

    def __init__(self) -> None:
        self.elapsed_ns = 0
        self.alarms: list[_Alarm] = []  # sorted
        self._alarms_set = 0

    def after(self, delay_s: float) -> int:
        return self.elapsed_ns + round(delay_s * NS_PER_S)

    def set_alarm(self, due_ns: int, ring: Callable[[], None]) -> _Alarm:
        self._alarms_set += 1
        alarm = _Alarm(due_ns, self._alarms_set, ring)
        insort(self.alarms, alarm)
        return alarm

    def unset_alarm(self, alarm: _Alarm) -> None:
        place = bisect_left(self.alarms, alarm)
        if place < len(self.alarms) and self.alarms[place] is alarm:
            del self.alarms[place]


class FakeClock:
    """A clock that stands still until `advance`; it counts in integers, so nothing drifts."""

    def __init__(self, *, now_ms: int = START_MS) -> None:
        self._wall_ns = now_ms * NS_PER_MS  # what the wall clock shows when no time has passed
        self._timeline = _Timeline()

    @property
    def pending(self) -> int:
        """Return how many sleepers and timeouts wait for this clock."""
        return len(self._timeline.alarms)

    def now_ms(self) -> int:
        """Return the wall-clock instant, in milliseconds since 1970 (UTC)."""
        return (self._wall_ns + self._timeline.elapsed_ns) // NS_PER_MS

    def monotonic_s(self) -> float:
        """Return the seconds advanced so far."""
        return self._timeline.elapsed_ns / NS_PER_S

    async def sleep(self, delay_s: float) -> None:
        """Return when the clock has been advanced by `delay_s` seconds; yield once when that is zero."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self._timeline.set_alarm(self._timeline.after(delay_s), lambda: woken.set_result(None))
        try:
            await woken
        finally:
            self._timeline.unset_alarm(alarm)

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Return a real asyncio timeout that this clock fires; None never does."""
        if delay_s is None:
            return asyncio.Timeout(None)
        return _FakeTimeout(self._timeline, self._timeline.after(delay_s))

    async def advance(self, seconds: float) -> None:
        """Let so much time pass: stop at each instant somebody waits for, wake them, and let the loop settle."""
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} s; step_back() sets the wall clock back")
        await self.settle()
        timeline = self._timeline
        target_ns = timeline.after(seconds)
        while timeline.alarms and timeline.alarms[0].due_ns <= target_ns:
            alarm = timeline.alarms.pop(0)
            timeline.elapsed_ns = alarm.due_ns
            alarm.ring()
            await self.settle()
        timeline.elapsed_ns = target_ns

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once, as for a blocked event loop: nothing runs meanwhile, and all wake late."""
        timeline = self._timeline
        timeline.elapsed_ns = timeline.after(seconds)
        while timeline.alarms and timeline.alarms[0].due_ns <= timeline.elapsed_ns:
            timeline.alarms.pop(0).ring()

    async def settle(self, *, rounds: int = SETTLE_ROUNDS) -> None:
        """Let every task run that can run without time passing; bounded, so a task that only yields cannot hold it."""
        for _ in range(rounds):
            await asyncio.sleep(0)

    def step_back(self, seconds: float) -> None:
        """Set the wall clock back, as time synchronisation does; durations are not touched."""
        self._wall_ns -= round(seconds * NS_PER_S)

    def set_now_ms(self, now_ms: int) -> None:
        """Set the wall clock, forward or back; durations are not touched."""
        self._wall_ns = now_ms * NS_PER_MS - self._timeline.elapsed_ns


# asyncio.Timeout is final to type checkers. Ours must be one, since only the real one may convert its task's
# cancellation, and must tell the clock when its body ends.
class _FakeTimeout(asyncio.Timeout):  # type: ignore[misc]
    def __init__(self, timeline: _Timeline, due_ns: int) -> None:
        super().__init__(None)
        self._timeline = timeline
        self._due_ns = due_ns
        self._alarm: _Alarm | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._due_ns <= self._timeline.elapsed_ns:
            self._fire()
        else:
            self._alarm = self._timeline.set_alarm(self._due_ns, self._fire)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._timeline.unset_alarm(self._alarm)
        await super().__aexit__(exc_type, exc_val, exc_tb)

    def _fire(self) -> None:
        self.reschedule(asyncio.get_running_loop().time())
