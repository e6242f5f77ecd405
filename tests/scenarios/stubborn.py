"""Handlers that do not end when they are told to."""

import asyncio
import contextlib
import threading

from gotaskq import Job
from gotaskq.testing.desk import PATIENCE_S


class Stubborn:
    """A handler that swallows every cancellation until it is let go; of a job with a payload it is done at once."""

    def __init__(self) -> None:
        self.running = 0
        self.let_go = asyncio.Event()

    async def __call__(self, job: Job) -> str:
        if job.payload is None:
            self.running += 1
            while not self.let_go.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.let_go.wait()
            self.running -= 1
        return "done at last"


class Blind:
    """A `def` handler that never looks whether it is to end; of a job with a payload it is done at once."""

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.ended = threading.Semaphore(0)

    def __call__(self, job: Job) -> str:
        if job.payload is None:
            self.running.release()
            self.let_go.wait(PATIENCE_S)
            self.ended.release()
        return "done at last"
