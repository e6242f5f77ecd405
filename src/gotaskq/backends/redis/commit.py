"""Group commit: what comes while calls are under way goes out together in the next one.

No timer: where nothing is under way, a job is sent at once, and that of a caller who comes alone in the very turn of
the loop that brought it. Used for enqueueing, where many callers come one by one.
Invariant: every item put is answered once, with a reply or an error.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

Answer: TypeAlias = Callable[[Any], None]  # hears a sequence of replies, or the exception that stands for them

CALLS_AT_ONCE: Final = 2  # the next batch is on its way while this one is answered (benchmarks: redis_ingestion)


class _Waiting(NamedTuple, Generic[I]):
    items: Sequence[I]
    answer: Answer
    size: int
    since_s: float


class GroupCommit(Generic[I, R]):
    """Collects items and sends them in calls of at most `max_items` and `max_bytes`.

    `send` gets the items of a call, how many seconds are left for it, and who hears of it.
    """

    def __init__(
        self,
        send: Callable[[Sequence[I], float, Answer], None],
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
        self._waiting: deque[_Waiting[I]] = deque()
        self._is_starting = False
        self._is_alone = True  # whoever the last call carried was its only caller, so the next one may be too
        self._drained: list[asyncio.Future[None]] = []
        self.calls_under_way = 0

    def put(self, items: Sequence[I], answer: Answer, *, size: int) -> None:
        """Send these items, of `size` bytes, with the next call; `answer` hears a reply each, or why there is none."""
        loop = asyncio.get_running_loop()
        self._waiting.append(_Waiting(items, answer, size, loop.time()))
        if self._is_starting or self.calls_under_way == CALLS_AT_ONCE:
            return
        if self._is_alone and not self.calls_under_way:
            self._start()
        else:
            self._is_starting = True  # until then, what comes in joins it
            loop.call_soon(self._start)

    async def drained(self) -> None:
        """Return when everything put so far is answered."""
        while self._waiting or self.calls_under_way:
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(drained)
            await drained

    def _start(self) -> None:
        self._is_starting = False
        while self._waiting and self.calls_under_way < CALLS_AT_ONCE:
            batch = self._take()
            self._is_alone = len(batch) == 1
            left_s = batch[0].since_s + self._patience_s - asyncio.get_running_loop().time()
            self.calls_under_way += 1
            if left_s <= 0:  # waited too long behind calls that nobody answered; it was never sent
                self._hear(batch, self._give_up())
            else:
                items = batch[0].items if len(batch) == 1 else [item for waiting in batch for item in waiting.items]
                self._send(items, left_s, partial(self._hear, batch))

    def _hear(self, batch: Sequence[_Waiting[I]], replies: Sequence[R] | Exception) -> None:
        self.calls_under_way -= 1
        first = 0
        for items, answer, _, _ in batch:
            if isinstance(replies, Exception):
                answer(replies)
            else:
                answer(replies[first : first + len(items)])
                first += len(items)
        if self._waiting:
            if not self._is_starting:
                self._is_starting = True
                asyncio.get_running_loop().call_soon(self._start)
        elif not self.calls_under_way:
            for drained in self._drained:
                drained.set_result(None)
            self._drained.clear()

    def _take(self) -> list[_Waiting[I]]:
        batch: list[_Waiting[I]] = []
        count = size = 0
        while self._waiting:
            head = self._waiting[0]
            if batch and (count + len(head.items) > self._max_items or size + head.size > self._max_bytes):
                break
            batch.append(self._waiting.popleft())
            count += len(head.items)
            size += head.size
        return batch
