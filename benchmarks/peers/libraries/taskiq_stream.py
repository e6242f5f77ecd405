"""taskiq on a Redis stream: handlers are coroutines; a job is acknowledged after its handler."""

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play_async


class TaskiqStream:
    """Enqueues through a broker and runs taskiq's receiver on it."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._broker = RedisStreamBroker(url, consumer_id="0")  # from the first job on, not from the worker's start
        self._tasks = {
            "count": self._broker.register_task(meter.count_on_loop, task_name="count"),
            "stamp": self._broker.register_task(meter.stamp_on_loop, task_name="stamp"),
        }

    async def open(self) -> None:
        """Connect."""
        await self._broker.startup()

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.shutdown()

    async def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        await self._tasks[task].kiq(**arguments)

    async def work(self) -> None:
        """Run jobs."""
        await run_receiver_task(self._broker, run_startup=True, max_async_tasks=self._slots, validate_params=False)


if __name__ == "__main__":
    play_async(TaskiqStream)
