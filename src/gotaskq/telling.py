"""Telling: what happens in this process is handed to the log that all processes share, while somebody watches.

Run by `Life`. Nobody watches: nothing is even listened to, and nobody pays.
Invariant: it never holds anybody up, and never grows: what cannot be handed over is dropped, and the log says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.errors import GotaskqError
from gotaskq.happening import NAMES, happening_of
from gotaskq.happening_log import KEPT, HappeningLog

BATCH: Final = 500  # in one call: about a millisecond of the store
PAUSE_S: Final = 0.05  # after a call that took all there was: twenty calls a second, however much happens
AWAY_PAUSE_S: Final = 1.0  # after a call that failed, which itself was tried for seconds
LAST_WORDS_S: Final = 2.0  # for what is left to tell when the process ends
GAP: Final = b""


class Telling:
    """What one app has still to tell."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._log: HappeningLog | None = None
        self._untold: list[bytes] = []
        self._is_gap = False
        self._drops = 0
        self._is_listening = False
        self._more = asyncio.Event()

    @property
    def log(self) -> HappeningLog | None:
        """The log that all processes share; None where each tells of its own."""
        return self._log

    @contextlib.asynccontextmanager
    async def to(self, log: HappeningLog | None) -> AsyncIterator[None]:
        """Hand over to this log during the body, and what is left at its end; None: tell nobody."""
        before, self._log = self._log, log
        try:
            if log is None:
                yield
                return
            self._untold, self._is_gap = [], False
            log.hear_watched(self._listen)
            is_ending = asyncio.Event()
            handing = asyncio.create_task(self._hand_over(log, is_ending))
            try:
                yield
            finally:
                is_ending.set()
                self._more.set()
                await asyncio.wait([handing], timeout=LAST_WORDS_S)
                handing.cancel()
                await asyncio.wait([handing])
        finally:
            self._log = before

    def _listen(self) -> None:
        """Subscribe when somebody watches for the first time: an event nobody listens to need not be made."""
        if not self._is_listening:
            self._is_listening = True
            for event_type in NAMES:
                self._bus.subscribe_to_batches(event_type, self._hear)

    def _hear(self, events: Sequence[Any]) -> None:
        if self._log is None or not self._log.is_watched:
            return
        if len(self._untold) + len(events) > KEPT:
            self._untold, self._is_gap, self._drops = [], True, self._drops + 1
        self._untold += [msgspec.json.encode(happening_of(event)) for event in events[-KEPT:]]
        self._more.set()

    async def _hand_over(self, log: HappeningLog, is_ending: asyncio.Event) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._untold or self._is_gap:
                try:
                    await self._tell_some(log)
                except GotaskqError:  # said by the connection, once
                    await self._clock.sleep(AWAY_PAUSE_S)
                else:
                    await self._clock.sleep(0 if len(self._untold) >= BATCH else PAUSE_S)
            if is_ending.is_set():
                return

    async def _tell_some(self, log: HappeningLog) -> None:
        some, self._untold = self._untold[:BATCH], self._untold[BATCH:]
        if self._is_gap:
            some.insert(0, GAP)
        # Whoever leaves here in the middle does not know whether these were kept, and to tell them again might double
        # them: a gap is true in both cases.
        drops, self._is_gap = self._drops, True
        is_watched = await log.tell(some)
        self._is_gap = self._drops != drops
        if not is_watched:
            self._untold, self._is_gap = [], False
