"""The event loop of a simulation: no I/O and no waiting; when nothing is ready, time jumps to the next timer.

What is ready runs in an order drawn by a seeded Random, so a seed is one interleaving, and the same one each time.
Invariant: a callback runs only while the process it belongs to does; until then, the process holds it.
"""

import asyncio
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, Unpack

from gotaskq.testing.clock import START_MS

T = TypeVar("T")
A = TypeVarTuple("A")

HALF_A_NS: Final = 5e-7  # in ms; an instant that floats put a hair below its millisecond counts as reached
MAX_STEPS_AT_ONE_INSTANT: Final = 100_000  # more is a loop that never waits


class SimulationStalledError(RuntimeError):
    """The program under simulation waits for something that will never come, or never waits at all."""


class Host(Protocol):
    """A process, as the loop sees it."""

    @property
    def is_running(self) -> bool:
        """Whether its callbacks may run now."""
        ...

    held: list["Callback"]


PROCESS: Final[ContextVar[Host | None]] = ContextVar("process", default=None)


class Callback(asyncio.Handle):
    """A callback, and the process it belongs to."""

    __slots__ = ("host",)

    def __init__(self, callback: Callable[..., object], args: Any, loop: "SimLoop", context: Context | None) -> None:
        super().__init__(callback, args, loop, context)
        self.host = PROCESS.get() if context is None else context.get(PROCESS)

    def run(self) -> None:
        """Call it."""
        self._run()


class Timer(asyncio.TimerHandle):
    """A callback for an instant."""

    __slots__ = ("callback",)

    def __init__(self, when: float, callback: Callback, loop: "SimLoop") -> None:
        super().__init__(when, callback.run, (), loop)
        self.callback = callback

    def cancel(self) -> None:
        """Do not call it."""
        super().cancel()
        self.callback.cancel()


class SimFuture(asyncio.Future[T]):
    """A future whose hash is its number: sets of futures are iterated in the same order in every run."""

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[T]):
    """A task whose hash is its number, like that of a SimFuture."""

    def __init__(
        self,
        number: int,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: Context | None,
    ) -> None:
        self.number = number
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number


class SimLoop(BaseEventLoop):
    """Virtual time, seeded order. `steps` counts the callbacks run so far."""

    def __init__(self, rng: Random, *, is_shuffled: bool = True) -> None:
        super().__init__()
        self.steps = 0
        self._draw = rng.random
        self._is_shuffled = is_shuffled
        self._now_s = 0.0
        self._due: list[Callback] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = 0
        self._still_since = 0  # the step at which time moved last
        self._strangers = 0

    def time(self) -> float:
        """Return the seconds since the simulation began."""
        return self._now_s

    def now_ms(self) -> int:
        """Return the wall-clock instant."""
        return START_MS + int(self._now_s * 1000 + HALF_A_NS)

    def release(self, held: list[Callback]) -> None:
        """Let callbacks run that a process held while it did not."""
        self._due.extend(held)
        held.clear()

    # -- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[[Unpack[A]], object], *args: *A, context: Context | None = None) -> Callback:
        """Run the callback at this instant."""
        handle = Callback(callback, args, self, context)
        self._due.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[Unpack[A]], object], *args: *A, context: Context | None = None
    ) -> Timer:
        """Run the callback at an instant."""
        timer = Timer(when, Callback(callback, args, self, context), self)
        heappush(self._timers, (when, self._next_number(), timer))
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[A]], object], *args: *A, context: Context | None = None
    ) -> Callback:
        """Refuse: a thread has a time of its own, and no seed orders it."""
        if self.is_closed():
            raise RuntimeError("the simulation is over")
        self._strangers += 1
        return Callback(callback, args, self, context)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a numbered future."""
        return SimFuture(self._next_number(), loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Return a numbered task."""
        return SimTask(self._next_number(), coro, loop=self, name=None if name is None else str(name), context=context)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in its place: it is passed over when its instant comes."""

    # -- one step ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run one callback; where none is due, first let time pass."""
        if self._strangers:
            self._strangers = 0
            raise SimulationStalledError(
                "a thread called into the simulated loop; make the handler `async def`, as a seed cannot order threads"
            )
        if not self._due:
            self._pass_time()
        due = self._due
        if self._is_shuffled and len(due) > 1:
            place = int(self._draw() * len(due))
            due[place], due[-1] = due[-1], due[place]
            handle = due.pop()
        else:
            handle = due.pop(0)
        if handle.cancelled():
            return
        host = handle.host
        if host is not None and not host.is_running:
            host.held.append(handle)
            return
        self.steps += 1
        if self.steps - self._still_since > MAX_STEPS_AT_ONE_INSTANT:
            raise SimulationStalledError(f"{MAX_STEPS_AT_ONE_INSTANT} steps without any time passing")
        handle.run()

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not timers:
            raise SimulationStalledError("nothing is ready and nobody set a timer: what is awaited cannot come")
        when = timers[0][0]
        if when > self._now_s:
            self._now_s = when
            self._still_since = self.steps
        while timers and timers[0][0] <= self._now_s:
            timer = heappop(timers)[2]
            if not timer.cancelled():
                self._due.append(timer.callback)


class SimClock:
    """The simulated time, as the Clock that an app is given."""

    sleep = staticmethod(asyncio.sleep)
    timeout = staticmethod(asyncio.timeout)

    def __init__(self, loop: SimLoop) -> None:
        self.now_ms = loop.now_ms
        self.monotonic_s = loop.time
