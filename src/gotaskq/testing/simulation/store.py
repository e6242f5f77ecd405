"""The one store of a simulated fleet: the memory backend, which is the executable specification of the contract.

Every call is kept in a journal, so the store can be brought back to any earlier state, as a server that lost its last
writes is. Invariant: a call is carried out whole, at one instant.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from gotaskq.backend import Backend, QueueCounts
from gotaskq.backends import open_backend
from gotaskq.clock import Clock
from gotaskq.errors import GotaskqError
from gotaskq.store_limits import StoreLayout, StoreLimits
from gotaskq.testing.simulation.loop import SimClock, SimLoop

T = TypeVar("T")

StoreFactory: TypeAlias = Callable[[Clock, Random], Backend]

NEVER_MS = 10 * 365 * 86_400_000  # nothing is forgotten within a run: a job that is gone is a job that was lost


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of a backend's method: its name, what it is about, and how to make it."""

    name: str
    about: Any  # the jobs, leases or settlements it names; the checker knows each method's
    make: Callable[[Backend], Awaitable[T]]


class _Entry(NamedTuple):
    at_ms: int
    call: Call[Any] | None  # None: the store came back here, with new chance
    seed: int


class _StoreClock(SimClock):
    """The simulated time; while the journal is read again, the time of its entries."""

    def __init__(self, loop: SimLoop) -> None:
        super().__init__(loop)
        self._loop_now_ms = loop.now_ms
        self.again_ms: int | None = None
        self.now_ms = self._now_ms

    def _now_ms(self) -> int:
        return self._loop_now_ms() if self.again_ms is None else self.again_ms


def memory_store(clock: Clock, rng: Random) -> Backend:
    """Make the store that a simulation has unless it is given another."""
    limits = StoreLimits(complete_job_ttl_ms=NEVER_MS, dead_job_ttl_ms=NEVER_MS)
    return open_backend("memory://", limits=limits, layout=StoreLayout(), clock=clock, rng=rng)


class SimStore:
    """Carries calls out, and can be restarted from the past."""

    def __init__(self, make: StoreFactory, *, loop: SimLoop, seed: int) -> None:
        self._make = make
        self._loop = loop
        self._clock = _StoreClock(loop)
        self._journal: list[_Entry] = []
        self._seed = seed
        self._rng = Random(seed)
        self.backend = self._new()

    @property
    def length(self) -> int:
        """How many calls have been carried out, on this course of events."""
        return len(self._journal)

    def carry_out(self, call: Call[T]) -> T:
        """Carry a call out and return its reply, or raise what it raises."""
        self._journal.append(_Entry(self._loop.now_ms(), call, 0))
        return at_once(call.make(self.backend))

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Wait at the store; it looks at its clock there, which is kept in the journal too."""
        self.counts()
        await self.backend.wait_for_ready(queues, timeout_s=timeout_s)

    def counts(self) -> Mapping[str, QueueCounts]:
        """Return every queue with its counts."""
        return self.carry_out(Call("queues", None, lambda store: store.queues()))

    def restart(self, *, keep: int, seed: int) -> None:
        """Come back as it was after the first `keep` calls; chance goes another way from here."""
        del self._journal[keep:]
        self._rng = Random(self._seed)
        self.backend = self._new()
        for entry in self._journal:
            self._again(entry)
        self._clock.again_ms = None
        # Fresh nonces: those drawn after the kept calls are in the hands of workers, and must not come up again.
        self._rng.seed(seed)
        self._journal.append(_Entry(self._loop.now_ms(), None, seed))

    def _again(self, entry: _Entry) -> None:
        self._clock.again_ms = entry.at_ms
        if entry.call is None:
            self._rng.seed(entry.seed)
            return
        with contextlib.suppress(GotaskqError):  # it was answered with this error the first time, too
            at_once(entry.call.make(self.backend))

    def _new(self) -> Backend:
        backend = self._make(self._clock, self._rng)
        at_once(backend.open())
        return backend


def at_once(call: Awaitable[T]) -> T:
    """Run a call that does not suspend; raises RuntimeError for one that does, as it would not be atomic."""
    steps = call.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    if isinstance(call, Coroutine):
        call.close()
    raise RuntimeError("a call of the simulated store suspended; the store of a simulation must answer at once")
