"""Presence: each worker says on a notice board that it is there, so that every process knows of the workers of all.

Held by the open app; `TaskQ.fleet` and `explain` look at it. A worker in another language counts by what it asked for.
Invariant: a help and no more: no job is given out, taken back or refused by it. It holds no payload and no secret.
"""

import asyncio
import contextlib
import os
import platform
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from gotaskq.board import Board, BoardTerms, Notice
from gotaskq.clock import Clock
from gotaskq.engine.leasing import Wish
from gotaskq.engine.worker import Worker
from gotaskq.errors import GotaskqError
from gotaskq.recurring import SPREAD, beside, repeat

WORKERS: Final = BoardTerms("workers", ttl_ms=30_000, max_notices=1_000, max_bytes=65_536)
SAY_EVERY_S: Final = 10.0  # two of them may get lost before a worker is taken for gone
LAST_WORD_S: Final = 1.0  # what a worker that ends waits for to be forgotten
MAX_NAMES: Final = 250  # of queues, and of types, that are told of one worker
REMOTE: Final = "remote/"  # before the name of a worker elsewhere, which it made up and which must hide no other's


class WorkerPresence(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it was heard of last; of one in another language only what it asked for is known."""

    id: str  # what its jobs name as their worker
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started_at_ms: int | None = None
    queues: tuple[str, ...] | None = None  # None: all
    types: tuple[str, ...] | None = None  # None: all
    has_more: bool = False  # there are more names than are told; then it is taken to have any
    slots: int | None = None
    busy: int | None = None
    is_quiet: bool = False  # it fetches no more jobs
    is_remote: bool = False  # it leases jobs over HTTP
    seen_at_ms: int = 0

    def serves(self, queue: str) -> bool:
        """Whether it may take jobs of this queue."""
        return self.has_more or self.queues is None or queue in self.queues

    def handles(self, job_type: str) -> bool:
        """Whether it may run jobs of this type."""
        return self.has_more or self.types is None or job_type in self.types


class Fleet(msgspec.Struct, frozen=True):
    """The workers that are known; without `is_complete`, those of this process on a store that others share."""

    workers: list[WorkerPresence]
    is_complete: bool


class Presence:
    """Tells of the workers of one open app, and knows those of all."""

    def __init__(
        self,
        board: Board | None,
        *,
        is_shared: bool,
        queues: Collection[str] | None,
        types: Callable[[], Sequence[str]],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._board = board
        self._is_shared = is_shared
        self._queues = queues
        self._types = types
        self._clock = clock
        self._rng = rng
        self._here: dict[str, tuple[Worker, int]] = {}  # and since when
        self._callers: dict[str, WorkerPresence] = {}  # workers elsewhere, by the last that each asked for here
        self._heard: set[str] = set()  # those of them of which nothing has been said since they called
        self._telling: asyncio.Task[None] | None = None

    async def fleet(self) -> Fleet:
        """Return the workers of every process, sorted; raises BackendUnavailableError."""
        elsewhere = await self.elsewhere()
        here = [self._seen(worker, since_ms) for worker, since_ms in self._here.values()]
        return Fleet(sorted([*here, *(elsewhere or [])], key=lambda worker: worker.id), elsewhere is not None)

    async def elsewhere(self) -> list[WorkerPresence] | None:
        """Return the workers of other processes; None where nobody knows. Raises BackendUnavailableError."""
        if self._board is None:
            return None if self._is_shared else []
        now_ms = self._clock.now_ms()
        told = [_presence_of(notice, now_ms=now_ms) for notice in await self._board.read()]
        found = {worker.id: worker for worker in told if worker is not None and worker.id not in self._here}
        found.update((self._callers[name].id, self._callers[name]) for name in self._heard)
        return [*found.values()]

    def hear(self, name: str, wish: Wish | None) -> None:
        """Hear that a worker elsewhere asked for jobs, or with None that it renewed a lease."""
        if self._board is None:
            return
        if wish is not None:
            self._callers[name] = _caller(name, wish)
        if name in self._callers:
            self._callers[name] = replace(self._callers[name], seen_at_ms=self._clock.now_ms())
            self._heard.add(name)
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell_of_callers(self._board), name="gotaskq-callers")

    @contextlib.asynccontextmanager
    async def of(self, worker: Worker) -> AsyncIterator[None]:
        """Say during the body that this worker is there, and at its end that it is not."""
        name = worker.options.name
        self._here[name] = (worker, self._clock.now_ms())
        try:
            if self._board is None:
                yield
                return
            try:
                async with beside(self._say_on(self._board, worker)):
                    yield
            finally:
                await self._unsay(self._board, name)
        finally:
            del self._here[name]

    async def close(self) -> None:
        """End what runs here."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])

    # -- saying --------------------------------------------------------------------------------------------------------

    async def _say_on(self, board: Board, worker: Worker) -> None:
        async def say() -> None:
            await self._post(board, [self._seen(worker, self._here[worker.options.name][1])])

        async def say_that_it_rests() -> None:
            await worker.resting.wait()
            await say()

        async with beside(say_that_it_rests()):
            await say()
            await repeat(say, every_s=SAY_EVERY_S, clock=self._clock, rng=self._rng)

    async def _unsay(self, board: Board, name: str) -> None:
        with contextlib.suppress(GotaskqError, TimeoutError):  # else it grows old
            async with self._clock.timeout(LAST_WORD_S):
                await board.remove([name])

    async def _tell_of_callers(self, board: Board) -> None:
        """Say of workers elsewhere that they are there, as long as they call."""
        while self._heard:
            heard, self._heard = self._heard, set()
            await self._post(board, [self._callers[name] for name in sorted(heard)])
            await self._clock.sleep(SAY_EVERY_S * self._rng.uniform(1 - SPREAD, 1 + SPREAD))

    async def _post(self, board: Board, workers: Sequence[WorkerPresence]) -> None:
        said: Mapping[str, bytes] = {worker.id: msgspec.json.encode(worker) for worker in workers}
        with contextlib.suppress(GotaskqError):  # said by the connection, once; it is tried again at the next turn
            await board.post(said)

    def _seen(self, worker: Worker, since_ms: int) -> WorkerPresence:
        types = self._types()
        queues = None if self._queues is None else sorted(self._queues)
        return WorkerPresence(
            id=worker.options.name,
            host=platform.node(),
            pid=os.getpid(),
            version=version("gotaskq"),
            started_at_ms=since_ms,
            queues=None if queues is None else tuple(queues[:MAX_NAMES]),
            types=tuple(types[:MAX_NAMES]),
            has_more=max(len(types), len(queues or ())) > MAX_NAMES,
            slots=worker.options.concurrency,
            busy=worker.busy,
            is_quiet=worker.resting.is_set(),
            seen_at_ms=self._clock.now_ms(),
        )


def _caller(name: str, wish: Wish) -> WorkerPresence:
    types = None if wish.types is None else tuple(sorted(wish.types))
    return WorkerPresence(id=f"{REMOTE}{name}", queues=wish.queues, types=types, is_remote=True)


def _presence_of(notice: Notice, *, now_ms: int) -> WorkerPresence | None:
    """Return what a notice says; None for one of a program whose notices say something else."""
    try:
        worker = msgspec.json.decode(notice.body, type=WorkerPresence)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return replace(worker, seen_at_ms=now_ms - notice.age_ms)
