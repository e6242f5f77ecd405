"""Reports: what running handlers say of themselves, on its way to the store.

Handlers of any kind call in from any thread; the latest of a job replaces what waits, and all that waits goes in one
call. Invariant: what an attempt left as its checkpoint is stored before its settlement is, unless the store refuses it.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final, TypeVarTuple, Unpack

from msgspec.structs import replace

from gotaskq.backend import Backend, Extended, Note
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import Deadlines
from gotaskq.errors import BackendUnavailableError, StoreFullError
from gotaskq.events import JobProgressed
from gotaskq.job import Job, Lease, held_lease

FLUSH_EVERY_S: Final = 0.25  # four times a second is as much as a person sees, and little work for a store
OUTAGE_PAUSE_S: Final = 1.0
MAX_BATCH: Final = 64  # of checkpoints of 64 KiB at most: a call of 4 MiB

A = TypeVarTuple("A")

logger = logging.getLogger(__name__)


class Reports:
    """Takes reports and writes them; one a worker."""

    def __init__(self, backend: Backend, *, deadlines: Deadlines, bus: EventBus, clock: Clock) -> None:
        self._backend = backend
        self._deadlines = deadlines
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Lease, tuple[Job, Note]] = {}  # by attempt: what a late one says is not the next one's
        self._came = asyncio.Event()
        self._writing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def report_progress(self, job: Job, fraction: float, note: str) -> None:
        """Hear how far a job is."""
        self._put(job, Note(held_lease(job), progress=fraction, text=note))

    def report_checkpoint(self, job: Job, state_json: bytes) -> None:
        """Take a state to begin the next attempt with."""
        self._put(job, Note(held_lease(job), checkpoint_json=state_json))

    def extend(self, job: Job, timeout_s: float) -> None:
        """Let a job run for so long from now."""
        self._call_on_loop(self._deadlines.extend, job, timeout_s)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written or is being written."""
        return not self._waiting and not self._writing.locked()

    async def run(self) -> None:
        """Write what comes, a few times a second, until cancelled."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        while True:
            await self._came.wait()
            self._came.clear()
            try:
                await self.write()
            except BackendUnavailableError:
                self._came.set()  # whoever settles or fetches tells of the outage
                await self._clock.sleep(OUTAGE_PAUSE_S)
            else:
                await self._clock.sleep(FLUSH_EVERY_S)

    async def write(self) -> None:
        """Write what waits now, or drop it where the store is full; raises BackendUnavailableError, and keeps it then.

        What comes meanwhile is for the next time: who waits for this must not wait for handlers that never pause.
        """
        async with self._writing:
            for _ in range(0, len(self._waiting), MAX_BATCH):
                batch = self._take()
                try:
                    replies = await self._backend.note([note for _, note in batch])
                except StoreFullError as error:
                    logger.warning("reports_not_kept", extra={"reports": len(batch), "error": str(error)})
                    continue
                except BaseException:
                    self._put_back(batch)
                    raise
                for (job, note), extended in zip(batch, replies, strict=True):
                    if note.progress is not None and extended is not Extended.LOST:
                        self._bus.publish(JobProgressed(job, note.progress, note.text))

    def _put(self, job: Job, note: Note) -> None:
        with self._lock:
            is_first = not self._waiting
            waiting = self._waiting.get(note.lease)
            self._waiting[note.lease] = (job, note if waiting is None else _merged(waiting[1], note))
        if is_first:  # the others go with it: a handler that reports without end must not flood the loop
            self._call_on_loop(self._came.set)

    def _call_on_loop(self, call: Callable[[Unpack[A]], object], *arguments: *A) -> None:
        if threading.get_ident() == self._loop_thread:
            call(*arguments)
        elif self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody hears what a thread left behind says
                self._loop.call_soon_threadsafe(call, *arguments)

    def _take(self) -> list[tuple[Job, Note]]:
        with self._lock:
            leases = list(self._waiting)[:MAX_BATCH]
            return [self._waiting.pop(lease) for lease in leases]

    def _put_back(self, batch: list[tuple[Job, Note]]) -> None:
        with self._lock:
            for job, note in batch:
                later = self._waiting.get(note.lease)
                self._waiting[note.lease] = (job, note if later is None else _merged(note, later[1]))


def _merged(earlier: Note, later: Note) -> Note:
    """Return one note that says what both do."""
    if later.progress is None:
        later = replace(later, progress=earlier.progress, text=earlier.text)
    if later.checkpoint_json is None:
        later = replace(later, checkpoint_json=earlier.checkpoint_json)
    return later
