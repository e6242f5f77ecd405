"""RQ: handlers are functions, run in the worker's own process (its usual worker forks for each job)."""

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play

HANDLERS = {"count": meter.count, "stamp": meter.stamp}
KEEP_NO_RESULT = 0


class Rq:
    """Enqueues through RQ's queue and runs RQ's simple worker."""

    def __init__(self, url: str, slots: int) -> None:
        if slots != 1:
            raise ValueError(f"a worker of RQ runs one job at a time, not {slots}")
        self._redis = Redis.from_url(url)
        self._queue = Queue(connection=self._redis)

    def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        self._queue.enqueue(HANDLERS[task], kwargs=arguments, result_ttl=KEEP_NO_RESULT)

    def enqueue_bulk(self, task: str, arguments: Arguments, jobs: int) -> None:
        """Store that many jobs in one pipeline."""
        one = Queue.prepare_data(HANDLERS[task], kwargs=dict(arguments), result_ttl=KEEP_NO_RESULT)
        self._queue.enqueue_many([one] * jobs)

    def work(self) -> None:
        """Run jobs."""
        SimpleWorker([self._queue], connection=self._redis).work(logging_level="WARNING")


if __name__ == "__main__":
    play(Rq)
