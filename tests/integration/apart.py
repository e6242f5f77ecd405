"""An app for several processes that share nothing: each keeps its jobs in its own memory, and does not say so.

Enough to see how processes are kept and how their counters add up; what a shared store does is tested with Redis.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, cast

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
        if Path("broken").exists():
            sys.exit(3)
        await self._jobs.open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


app = TaskQ(cast(Backend, Apart()))


@app.handler("ok")
async def succeed(job: Job) -> None:
    """End well."""


@app.handler("who")
async def say_who(job: Job) -> None:
    """Leave a file named by this process's number."""
    (Path(job.payload["folder"]) / f"pid-{os.getpid()}").touch()


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
