"""Group commit: what comes while a call is under way goes out together in the next one.

No timer: where nothing is under way, a job is sent at once. Used for enqueueing, where many callers come one by one.
Invariant: every item put is answered once, with a reply or an error, within the time it was given.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

CALLS_AT_ONCE: Final = 2  # the next batch is on its way while this one is answered (benchmarks: redis_ingestion)


class _Waiting(NamedTuple, Generic[I, R]):
    items: Sequence[I]
    answer: Callable[[Sequence[R] | Exception], None]
    size: int
    since_s: float


class GroupCommit(Generic[I, R]):
    """Collects items and sends them in calls of at most `max_items` and `max_bytes`."""

    def __init__(
        self,
        send: Callable[[Sequence[I], float], Awaitable[Sequence[R]]],
        *,
        max_items: int,
        max_bytes: int,
        patience_s: float,
        give_up: Callable[[], Exception],
    ) -> None:
        self._send = send
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._patience_s = patience_s
        self._give_up = give_up
        self._waiting: deque[_Waiting[I, R]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_starting = False

    def put(self, items: Sequence[I], answer: Callable[[Sequence[R] | Exception], None], *, size: int) -> None:
        """Send these items, of `size` bytes, with the next call; `answer` hears a reply each, or why there is none."""
        self._waiting.append(_Waiting(items, answer, size, time.monotonic()))
        self._start()

    @property
    def calls_under_way(self) -> frozenset[asyncio.Task[None]]:
        """The calls that have not ended."""
        return frozenset(self._calls)

    async def drained(self) -> None:
        """Return when everything put so far is answered."""
        while self._calls:
            await asyncio.wait(self._calls)

    def _start(self) -> None:
        if not self._is_starting and len(self._calls) < CALLS_AT_ONCE:
            self._is_starting = True  # until it runs, what comes in joins it
            call: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._work())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _work(self) -> None:
        self._is_starting = False
        while batch := self._take():
            if self._waiting:
                self._start()
            left_s = batch[0].since_s + self._patience_s - time.monotonic()
            if left_s <= 0:  # waited too long behind calls that nobody answered; it was never sent
                _answer_all(batch, self._give_up())
                continue
            items = [item for waiting in batch for item in waiting.items]
            try:
                replies = await self._send(items, left_s)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                _answer_all(batch, error)
            else:
                first = 0
                for waiting in batch:
                    waiting.answer(replies[first : first + len(waiting.items)])
                    first += len(waiting.items)

    def _take(self) -> list[_Waiting[I, R]]:
        batch: list[_Waiting[I, R]] = []
        count = size = 0
        while self._waiting:
            head = self._waiting[0]
            if batch and (count + len(head.items) > self._max_items or size + head.size > self._max_bytes):
                break
            batch.append(self._waiting.popleft())
            count += len(head.items)
            size += head.size
        return batch


def _answer_all(batch: Sequence[_Waiting[Any, Any]], error: Exception) -> None:
    for waiting in batch:
        waiting.answer(error)
