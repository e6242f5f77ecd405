"""GoTaskQ, by its public names: handlers are coroutines; each job is leased, settled, and kept for five minutes."""

import asyncio

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play_async
from gotaskq import Job, Settings, TaskQ


class Ours:
    """Enqueues through a TaskQ and runs its workers."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._app = TaskQ(url, settings=Settings(max_queue_depth=10_000_000))
        self._app.handler("count")(self._count)
        self._app.handler("stamp")(self._stamp)

    async def _count(self, _: Job) -> None:
        await meter.count_on_loop("")

    async def _stamp(self, job: Job) -> None:
        await meter.stamp_on_loop(job.payload["sent_ns"])

    async def open(self) -> None:
        """Connect."""
        await self._app.__aenter__()

    async def close(self) -> None:
        """Disconnect."""
        await self._app.__aexit__(None, None, None)

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        await self._app.enqueue(task, arguments)

    async def enqueue_bulk(self, task: str, arguments: Arguments, jobs: int) -> None:
        """Store that many jobs, in one call."""
        await self._app.enqueue_many([self._app.job(task, arguments) for _ in range(jobs)])

    async def work(self) -> None:
        """Run jobs."""
        async with self._app, self._app.workers(concurrency=self._slots):
            await asyncio.Event().wait()


if __name__ == "__main__":
    play_async(Ours)
