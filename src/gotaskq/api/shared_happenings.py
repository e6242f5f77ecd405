"""What happens to jobs in all processes of a shared store, read from its log for those who watch at this process.

One reader for all of them, which runs while somebody watches. It reads the whole log first, so that whoever comes back
from another process finds here what was missed.
Invariant: a watcher misses nothing without being told, and is given nothing twice.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gotaskq.api.happenings import Filter, Kept, Watcher, Watchers
from gotaskq.clock import Clock
from gotaskq.errors import GotaskqError
from gotaskq.happening import Happening
from gotaskq.happening_log import KEPT, KEPT_FOR_S, Entry, HappeningLog
from gotaskq.job import JobId

PAGE: Final = 500  # entries in one call
PAUSE_S: Final = 0.05  # after a look that found something: at most twenty a second, however much happens
AWAY_PAUSE_S: Final = 1.0  # after one that failed, which itself was tried for seconds
WATCH_EVERY_S: Final = KEPT_FOR_S / 6  # that it is said that somebody watches: a few of these may fail
JOIN_WITHIN_S: Final = 2.0  # else a watcher begins without, and is told of the gap when the store is back

_ENTRY_ID: Final = re.compile(r"([0-9]{1,16})-([0-9]{1,16})")


class SharedHappenings:
    """What this process knows of the log, and those who watch here; `hear` gets the job of each happening."""

    def __init__(self, log: HappeningLog, clock: Clock, *, hear: Callable[[JobId], None]) -> None:
        self.log = log
        self._clock = clock
        self._hear = hear
        self._kept: deque[Kept] = deque(maxlen=KEPT)
        self._watchers = Watchers()
        self._reading: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()  # entries are taken in their order
        self._last: str | None = None  # the entry that was read last; None: none that the log still has
        self._is_along = asyncio.Event()  # once all that there was has been read

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers.count

    def watch(self, wanted: Filter) -> Watcher:
        """Take in a watcher, and read for as long as there is one."""
        watcher = self._watchers.add(wanted)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Let a watcher go."""
        self._watchers.remove(watcher)
        if not self._watchers.count and self._reading is not None:
            self._reading.cancel()
            self._reading = None
            self._forget()

    async def join(self, watcher: Watcher, last_id: str) -> list[Kept] | None:
        """Return what a watcher missed since the event of this id; None where some of it is not known here."""
        with contextlib.suppress(TimeoutError, GotaskqError):
            async with self._clock.timeout(JOIN_WITHIN_S):
                await self._is_along.wait()
                if self._is_ahead(last_id):  # it was heard of sooner at another process
                    await self._look()
        if self._is_along.is_set():
            watcher.begin()
        return self._since(last_id) if last_id else []

    def wake_all(self) -> None:
        """Let every watcher look about."""
        self._watchers.wake_all()

    def _since(self, last_id: str) -> list[Kept] | None:
        missed: list[Kept] = []
        for kept in reversed(self._kept):
            if kept.id == last_id:
                return missed[::-1]
            missed.append(kept)
        return None

    def _is_ahead(self, entry_id: str) -> bool:
        match = _ENTRY_ID.fullmatch(entry_id)
        return match is not None and self._last is not None and _place(entry_id) > _place(self._last)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read along until cancelled."""
        watch_at_s = self._clock.monotonic_s()
        while True:
            try:
                if self._clock.monotonic_s() >= watch_at_s or self._last is None:
                    await self.log.watch()
                    watch_at_s = self._clock.monotonic_s() + WATCH_EVERY_S
                await self._look()
                if self._last is not None:
                    await self.log.wait_for_more(
                        self._last, timeout_s=max(watch_at_s - self._clock.monotonic_s(), PAUSE_S)
                    )
                    await self._look()
                await self._clock.sleep(PAUSE_S)
            except GotaskqError:  # said by the connection, once
                await self._clock.sleep(AWAY_PAUSE_S)

    async def _look(self) -> None:
        """Take what is new; where that cannot be told, all there is, and tell of the gap."""
        async with self._looking:
            while True:
                entries = await self.log.read(self._last, limit=PAGE)
                if entries is None:
                    self._forget()
                    continue
                for entry in entries:
                    self._take(entry)
                if len(entries) < PAGE:
                    break
            if self._last is not None and not self._is_along.is_set():
                self._is_along.set()
                self._watchers.offer(Kept(self._last, None))

    def _take(self, entry: Entry) -> None:
        kept = Kept(entry.id, _read_happening(entry.body))
        self._kept.append(kept)
        self._last = entry.id
        if self._is_along.is_set():
            self._watchers.offer(kept)
            if kept.happening is not None:
                self._hear(kept.happening.job_id)

    def _forget(self) -> None:
        self._kept.clear()
        self._last = None
        self._is_along.clear()


def _read_happening(body: bytes) -> Happening | None:
    """Return what another process told; None for a gap, or what only a later version can read."""
    try:
        return msgspec.json.decode(body, type=Happening)
    except msgspec.MsgspecError:
        return None


def _place(entry_id: str) -> tuple[int, ...]:
    return tuple(int(number) for number in entry_id.split("-"))
