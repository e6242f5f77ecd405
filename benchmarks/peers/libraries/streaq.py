"""streaq: handlers are coroutines; the worker reads a stream ahead and finishes each job in a pipeline."""

from contextlib import AsyncExitStack

from streaq import Worker

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play_async


class Streaq:
    """Enqueues through a streaq worker that does not run, and runs one."""

    def __init__(self, url: str, slots: int) -> None:
        self._worker = Worker(redis_url=url, concurrency=slots, handle_signals=False)
        register = self._worker.task(ttl=0, silent=True)
        self._tasks = {"count": register(meter.count_on_loop), "stamp": register(meter.stamp_on_loop)}
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Connect."""
        await self._opened.enter_async_context(self._worker)

    async def close(self) -> None:
        """Disconnect."""
        await self._opened.aclose()

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        await self._tasks[task].enqueue(**arguments)

    async def enqueue_bulk(self, task: str, arguments: Arguments, jobs: int) -> None:
        """Store that many jobs in one pipeline."""
        await self._worker.enqueue_many([self._tasks[task].enqueue(**arguments) for _ in range(jobs)])

    async def work(self) -> None:
        """Run jobs."""
        await self._worker.run_async()


if __name__ == "__main__":
    play_async(Streaq)
