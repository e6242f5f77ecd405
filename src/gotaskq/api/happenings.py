"""What happens to jobs in this process, kept for a while and handed to those who watch.

Filled from the event bus, read by the event streams. Nobody watches: nothing is kept, and nobody pays.
Invariant: a watcher misses nothing without being told: what it could not be given ends its stream, and what the log has
forgotten is a gap it can see.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

import msgspec

from gotaskq.app import TaskQ
from gotaskq.events import (
    Event,
    JobCancelled,
    JobDied,
    JobDone,
    JobEnqueued,
    JobProgressed,
    JobReleased,
    JobReplayed,
    JobRetryScheduled,
    JobSnoozed,
    JobStarted,
    LeaseLapsed,
)
from gotaskq.job import JobId, Status

KEPT: Final = 10_000  # happenings to go on from after a broken connection
KEPT_FOR_S: Final = 60.0  # after the last watcher has gone; then nothing is kept until the next one comes
MOST_BEHIND: Final = 1_000  # happenings a watcher may have unread; then it is cut off, and comes back with its id

# An event carries its job as it was when the engine last saw it, so what it became is said here.
NAMES: Final[dict[type[Event], tuple[str, Status]]] = {
    JobEnqueued: ("job.enqueued", Status.PENDING),
    JobStarted: ("job.started", Status.RUNNING),
    JobProgressed: ("job.progressed", Status.RUNNING),
    JobDone: ("job.done", Status.DONE),
    JobRetryScheduled: ("job.retrying", Status.PENDING),
    JobDied: ("job.dead", Status.DEAD),
    JobSnoozed: ("job.snoozed", Status.PENDING),
    JobReleased: ("job.released", Status.PENDING),
    JobCancelled: ("job.cancelled", Status.CANCELLED),
    JobReplayed: ("job.replayed", Status.PENDING),
    LeaseLapsed: ("job.lapsed", Status.PENDING),
}


class Happening(msgspec.Struct, frozen=True, gc=False):
    """One event of one job, without its payload: small, and it keeps no job from being forgotten."""

    number: int
    name: str
    job_id: JobId
    type: str
    queue: str
    status: Status
    attempt: int
    error: str | None


class Filter(msgspec.Struct, frozen=True):
    """Which happenings a watcher wants; a member that is None admits all."""

    queue: str | None = None
    type: str | None = None
    status: Status | None = None
    job_id: JobId | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What watchers are found by: that of a job is not even looked at for others."""
        return (self.job_id,) if self.job_id is not None else (self.queue, self.type)

    def admits(self, happening: Happening) -> bool:
        """Say whether a watcher with this filter wants it."""
        return (
            self.queue in (None, happening.queue)
            and self.type in (None, happening.type)
            and self.status in (None, happening.status)
            and self.job_id in (None, happening.job_id)
        )


class Watcher:
    """One who watches: what it has not read yet, and whether it can go on."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.unread: deque[Happening] = deque()
        self.is_behind = False
        self._woken = asyncio.Event()

    def offer(self, happening: Happening) -> None:
        """Give it one, or note that it is too far behind to be given any more."""
        if len(self.unread) >= MOST_BEHIND:
            self.is_behind = True
        else:
            self.unread.append(happening)
        self._woken.set()

    def wake(self) -> None:
        """Let it look about."""
        self._woken.set()

    async def wait(self) -> None:
        """Return when there is something to read, or somebody woke it."""
        await self._woken.wait()
        self._woken.clear()


class Happenings:
    """The log of one TaskQ, and its watchers."""

    def __init__(self, taskq: TaskQ, *, clock_s: Callable[[], float], rng: Random | None = None) -> None:
        self._taskq = taskq
        self._clock_s = clock_s
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._watchers: dict[tuple[object, ...], dict[Watcher, None]] = {}
        self._count = 0
        self._number = 0
        self._is_subscribed = False
        self._unwatched_since_s: float | None = None
        self.epoch = f"{(rng or Random()).getrandbits(48):012x}"  # tells our numbers from another process's

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._count

    @property
    def last(self) -> int:
        """The number of what happened last."""
        return self._number

    def watch(self, wanted: Filter) -> Watcher:
        """Take in a watcher."""
        self._begin()
        watcher = Watcher(wanted)
        self._watchers.setdefault(wanted.key, {})[watcher] = None
        self._count += 1
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Let a watcher go."""
        others = self._watchers[watcher.wanted.key]
        del others[watcher]
        if not others:
            del self._watchers[watcher.wanted.key]
        self._count -= 1
        if self._count == 0:
            self._unwatched_since_s = self._clock_s()

    def since(self, number: int) -> Iterator[Happening] | None:
        """Return what happened after this number; None where some of it is forgotten or never was."""
        first = self._kept[0].number if self._kept else self._number + 1
        if not first - 1 <= number <= self._number:
            return None
        return (happening for happening in self._kept if happening.number > number)

    def wake_all(self) -> None:
        """Let every watcher look about."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake()

    def _begin(self) -> None:
        """Listen from the first watcher on."""
        if self._unwatched_since_s is not None and self._is_over(self._unwatched_since_s):
            self._kept.clear()  # there is a gap behind it
            self._number += 1
        self._unwatched_since_s = None
        if not self._is_subscribed:
            self._is_subscribed = True
            for event_type, (name, status) in NAMES.items():
                self._taskq.observe_batches(event_type, self._teller(name, status))

    def _is_over(self, since_s: float) -> bool:
        return self._clock_s() > since_s + KEPT_FOR_S

    def _teller(self, name: str, status: Status) -> Callable[[Sequence[Any]], None]:
        def tell(events: Sequence[Any]) -> None:
            if self._count or (self._unwatched_since_s is not None and not self._is_over(self._unwatched_since_s)):
                for event in events:
                    self._tell(name, status, event)

        return tell

    def _tell(self, name: str, status: Status, event: Any) -> None:
        job = event.job
        self._number += 1
        happening = Happening(
            self._number,
            name,
            job.id,
            job.type,
            job.queue,
            status,
            job.attempt,
            getattr(event, "error", None),
        )
        self._kept.append(happening)
        for key in ((job.id,), (None, None), (job.queue, None), (None, job.type), (job.queue, job.type)):
            for watcher in self._watchers.get(key, ()):
                if watcher.wanted.admits(happening):
                    watcher.offer(happening)
