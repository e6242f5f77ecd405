"""SAQ: handlers are coroutines; the worker blocks on a list and finishes each job in a transaction."""

from saq import Queue, Worker

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play_async

KEEP_NOTHING = -1  # the job and its result are deleted when it has ended


async def count(_: object, *, msg: str) -> None:
    """Count a job."""
    await meter.count_on_loop(msg)


async def stamp(_: object, *, sent_ns: int) -> None:
    """Note a job's wait."""
    await meter.stamp_on_loop(sent_ns)


class Saq:
    """Enqueues through SAQ's queue and runs SAQ's worker."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._queue = Queue.from_url(url)

    async def open(self) -> None:
        """Connect."""
        await self._queue.connect()

    async def close(self) -> None:
        """Disconnect."""
        await self._queue.disconnect()

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        await self._queue.enqueue(task, ttl=KEEP_NOTHING, **arguments)

    async def work(self) -> None:
        """Run jobs."""
        await Worker(self._queue, functions=[count, stamp], concurrency=self._slots).start()


if __name__ == "__main__":
    play_async(Saq)
