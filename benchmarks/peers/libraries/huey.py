"""Huey: handlers are functions in threads; BRPOP takes a job away, and nothing acknowledges it. No results are kept."""

from huey import RedisHuey

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play


class Huey:
    """Enqueues through Huey and runs Huey's consumer."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._huey = RedisHuey(url=url, results=False)
        self._tasks = {"count": self._huey.task()(meter.count), "stamp": self._huey.task()(meter.stamp)}

    def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        self._tasks[task](**arguments)

    def work(self) -> None:
        """Run jobs."""
        self._huey.create_consumer(workers=self._slots, worker_type="thread", periodic=False).run()


if __name__ == "__main__":
    play(Huey)
