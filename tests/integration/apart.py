"""An app for several processes that share nothing: each keeps its jobs in its own memory, and does not say so.

Enough to see how processes are kept and how their counters add up; what a shared store does is tested with Redis.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Self, cast

from gotaskq import Job, TaskQ
from gotaskq.backend import Backend
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import SystemClock


class Apart:
    """A memory that passes for a store others share."""

    def __init__(self) -> None:
        self._jobs = MemoryBackend(clock=SystemClock(), rng=Random())

    async def open(self) -> None:
        """Open, unless the file `broken` says that this one must not."""
        if is_broken():
            sys.exit(3)
        await self._jobs.open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


class Seeded(TaskQ):
    """An app that begins with the jobs of the file `jobs`: a type a line."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        for job_type in seeds():
            await self.enqueue(job_type, {"folder": os.getcwd()})  # noqa: PTH109
        return self


def is_broken() -> bool:
    return Path("broken").exists()


def seeds() -> list[str]:
    file = Path("jobs")
    return file.read_text().split() if file.exists() else []


app = Seeded(cast("Backend", Apart()))


@app.handler("ok")
async def succeed(job: Job) -> None:
    """End well."""


@app.handler("who")
async def say_who(job: Job) -> None:
    """Leave a file named by the job and this process."""
    (Path(job.payload["folder"]) / f"ran-{job.id}-{os.getpid()}").touch()


@app.handler("wait")
async def wait(job: Job) -> None:
    """Say so, then wait for the file `go`."""
    folder = Path(job.payload["folder"])
    (folder / f"started-{os.getpid()}").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.005)


@app.handler("block")
async def block(job: Job) -> None:
    """Hold the event loop until the file `go` is there."""
    folder = Path(job.payload["folder"])
    (folder / f"started-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)  # noqa: ASYNC251 - that is the point


@app.handler("follow")
async def enqueue_another(job: Job) -> None:
    """Say so, wait for `go`, and enqueue a job as a handler does that has more to do."""
    await wait(job)
    await app.enqueue("ok")
    (Path(job.payload["folder"]) / "followed").touch()
