"""arq: handlers are coroutines; the worker polls. No results are kept."""

from arq import Worker, create_pool, func
from arq.connections import RedisSettings

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play_async

POLL_DELAY_S = 0.01  # its default of 0.5 would be the latency, and no drain is the slower for it


async def count(_: object, msg: str) -> None:
    """Count a job."""
    await meter.count_on_loop(msg)


async def stamp(_: object, sent_ns: int) -> None:
    """Note a job's wait."""
    await meter.stamp_on_loop(sent_ns)


class Arq:
    """Enqueues through arq's pool and runs arq's worker."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._settings = RedisSettings.from_dsn(url)

    async def open(self) -> None:
        """Connect."""
        self._pool = await create_pool(self._settings)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.aclose()

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        await self._pool.enqueue_job(task, **arguments)

    async def work(self) -> None:
        """Run jobs."""
        worker = Worker(
            functions=[func(count, keep_result=0), func(stamp, keep_result=0)],
            redis_settings=self._settings,
            max_jobs=self._slots,
            poll_delay=POLL_DELAY_S,
            keep_result=0,
            handle_signals=False,
            log_results=False,
        )
        await worker.async_run()


if __name__ == "__main__":
    play_async(Arq)
