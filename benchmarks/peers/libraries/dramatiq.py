"""Dramatiq: handlers are functions in threads; no middleware, so nothing is retried or timed."""

import os
import signal
import threading

# Read at import. With its default, two jobs a thread, the threads wait for the consumer most of the time.
os.environ.update(dramatiq_queue_prefetch="1000")

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import meter
from benchmarks.peers.roles import Arguments, play


class Dramatiq:
    """Enqueues through a broker and runs Dramatiq's worker on it."""

    def __init__(self, url: str, slots: int) -> None:
        self._slots = slots
        self._broker = RedisBroker(url=url, middleware=[])
        self._actors = {
            "count": dramatiq.actor(meter.count, broker=self._broker),
            "stamp": dramatiq.actor(meter.stamp, broker=self._broker),
        }

    def enqueue(self, task: str, arguments: Arguments) -> None:
        """Store one job."""
        self._actors[task].send(**arguments)

    def work(self) -> None:
        """Run jobs."""
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        worker = dramatiq.Worker(self._broker, worker_threads=self._slots)
        worker.start()
        ended.wait()
        worker.stop()


if __name__ == "__main__":
    play(Dramatiq)
