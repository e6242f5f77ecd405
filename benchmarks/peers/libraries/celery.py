"""Celery: handlers are functions; results are ignored, jobs fetched ahead."""

from celery import Celery

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play

QUIET = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat")
FETCHED_AHEAD = 64  # jobs a thread


class CeleryApp:
    """Enqueues through an app and runs Celery's worker on it."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._app = Celery("peers", broker=url)
        self._app.conf.update(
            task_ignore_result=True, worker_prefetch_multiplier=FETCHED_AHEAD, broker_connection_retry_on_startup=True
        )
        self._tasks = {
            "count": self._app.task(meter.count, name="count"),
            "stamp": self._app.task(meter.stamp, name="stamp"),
        }

    def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        self._tasks[task].apply_async(kwargs=arguments)

    def work(self) -> None:
        """Run jobs."""
        self._app.worker_main(["worker", "--pool", "threads", "--concurrency", str(self._slots), *QUIET])


if __name__ == "__main__":
    play(CeleryApp)
