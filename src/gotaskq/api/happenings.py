"""What happens to jobs in this process, kept for a while and handed to those who watch.

Filled from the event bus, read by the event streams. Nobody watches: nothing is kept, and nobody pays.
Invariant: a watcher misses nothing without being told: what it could not be given ends its stream, and what the log has
forgotten is a gap it can see.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, Final

import msgspec

from gotaskq.app import TaskQ
from gotaskq.happening import NAMES, Happening, happening_of
from gotaskq.happening_log import KEPT, KEPT_FOR_S
from gotaskq.job import JobId, Status

_EVENT_ID: Final = re.compile(r"([0-9a-f]{12})-([0-9]{1,18})")

MOST_BEHIND: Final = 1_000  # happenings a watcher may have unread; then it is cut off, and comes back with its id


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A happening as a log has it; None: what happened there, nobody knows."""

    id: str
    happening: Happening | None


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
        self.unread: deque[Kept] = deque()
        self.is_behind = False
        self._woken = asyncio.Event()

    def offer(self, kept: Kept) -> None:
        """Give it one, or note that it is too far behind to be given any more."""
        if len(self.unread) >= MOST_BEHIND:
            self.is_behind = True
        else:
            self.unread.append(kept)
        self._woken.set()

    def begin(self) -> None:
        """Let it begin here: it has been given all up to now in another way, or does not want it."""
        self.unread.clear()
        self.is_behind = False

    def wake(self) -> None:
        """Let it look about."""
        self._woken.set()

    async def wait(self) -> None:
        """Return when there is something to read, or somebody woke it."""
        await self._woken.wait()
        self._woken.clear()


class Watchers:
    """Those who watch, found by what they want: who wants something else costs nothing."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[object, ...], dict[Watcher, None]] = {}
        self.count = 0

    def add(self, wanted: Filter) -> Watcher:
        """Take one in."""
        watcher = Watcher(wanted)
        self._by_key.setdefault(wanted.key, {})[watcher] = None
        self.count += 1
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Let one go."""
        others = self._by_key[watcher.wanted.key]
        del others[watcher]
        if not others:
            del self._by_key[watcher.wanted.key]
        self.count -= 1

    def offer(self, kept: Kept) -> None:
        """Give it to each who wants it; a gap, to all."""
        happening = kept.happening
        if happening is None:
            for watcher in self._all():
                watcher.offer(kept)
            return
        job_type, queue = happening.type, happening.queue
        for key in ((happening.job_id,), (None, None), (queue, None), (None, job_type), (queue, job_type)):
            for watcher in self._by_key.get(key, ()):
                if watcher.wanted.admits(happening):
                    watcher.offer(kept)

    def wake_of_job(self, job_id: JobId) -> None:
        """Let those look about who watch this job."""
        for watcher in self._by_key.get((job_id,), ()):
            watcher.wake()

    def wake_all(self) -> None:
        """Let everybody look about."""
        for watcher in self._all():
            watcher.wake()

    def _all(self) -> Iterator[Watcher]:
        return (watcher for watchers in self._by_key.values() for watcher in watchers)


class Happenings:
    """The log of one TaskQ, and its watchers."""

    def __init__(self, taskq: TaskQ, *, clock_s: Callable[[], float], rng: Random | None = None) -> None:
        self._taskq = taskq
        self._clock_s = clock_s
        self._kept: deque[Kept] = deque(maxlen=KEPT)
        self._watchers = Watchers()
        self._number = 0
        self._is_subscribed = False
        self._unwatched_since_s: float | None = None
        self.epoch = f"{(rng or Random()).getrandbits(48):012x}"  # tells our numbers from another process's

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers.count

    @property
    def last(self) -> int:
        """The number of what happened last."""
        return self._number

    def watch(self, wanted: Filter) -> Watcher:
        """Take in a watcher."""
        self._begin()
        return self._watchers.add(wanted)

    def leave(self, watcher: Watcher) -> None:
        """Let a watcher go."""
        self._watchers.remove(watcher)
        if not self._watchers.count:
            self._unwatched_since_s = self._clock_s()

    async def join(self, watcher: Watcher, last_id: str) -> list[Kept] | None:
        """Return what a watcher missed since the event of this id; None where some of it is not known here."""
        if not last_id:
            return []
        match = _EVENT_ID.fullmatch(last_id)
        if match is None or match[1] != self.epoch:
            return None
        watcher.begin()
        return self.since(int(match[2]))

    def since(self, number: int) -> list[Kept] | None:
        """Return what happened after this number; None where some of it is forgotten or never was."""
        first = self._number - len(self._kept)
        if not first <= number <= self._number:
            return None
        return list(islice(self._kept, number - first, None))

    def wake_all(self) -> None:
        """Let every watcher look about."""
        self._watchers.wake_all()

    def wake_of_job(self, job_id: JobId) -> None:
        """Let those look about who watch this job: something happened to it elsewhere."""
        self._watchers.wake_of_job(job_id)

    def _begin(self) -> None:
        """Listen from the first watcher on."""
        if self._unwatched_since_s is not None and self._is_over(self._unwatched_since_s):
            self._kept.clear()  # there is a gap behind it
            self._number += 1
        self._unwatched_since_s = None
        if not self._is_subscribed:
            self._is_subscribed = True
            for event_type in NAMES:
                self._taskq.observe_batches(event_type, self._hear)

    def _is_over(self, since_s: float) -> bool:
        return self._clock_s() > since_s + KEPT_FOR_S

    def _hear(self, events: Sequence[Any]) -> None:
        if self._watchers.count or (self._unwatched_since_s is not None and not self._is_over(self._unwatched_since_s)):
            for event in events:
                self._number += 1
                kept = Kept(f"{self.epoch}-{self._number}", happening_of(event))
                self._kept.append(kept)
                self._watchers.offer(kept)
