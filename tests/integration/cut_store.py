"""An app whose store is away while the file `away` is in the working directory, and then says what it must not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from gotaskq import Job, TaskQ
from gotaskq.backend import Backend, EnqueueReply, QueueCounts
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import SystemClock
from gotaskq.errors import BackendUnavailableError

SECRET = "hunter2"


class CutStore:
    """Jobs in memory, behind a connection that can be cut."""

    def __init__(self) -> None:
        self._jobs = MemoryBackend(clock=SystemClock(), rng=Random())

    @property
    def is_reachable(self) -> bool:
        return not Path("away").exists()

    async def open(self) -> None:
        await self._jobs.open()

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        if not self.is_reachable:
            raise BackendUnavailableError(f"redis://:{SECRET}@cache: timed out", job_id=jobs[0].id)
        return await self._jobs.enqueue(jobs, atomic=atomic)

    async def get(self, job_id: int) -> Job | None:
        if not self.is_reachable:
            raise BackendUnavailableError(f"redis://:{SECRET}@cache: connection refused")
        return await self._jobs.get(cast("Any", job_id))

    async def queues(self) -> Mapping[str, QueueCounts]:
        if not self.is_reachable:
            raise BackendUnavailableError(f"redis://:{SECRET}@cache: connection refused")
        return await self._jobs.queues()

    def __getattr__(self, name: str) -> Any:
        if name == "enqueue_now":
            raise AttributeError(name)  # a store that has to be waited for
        return getattr(self._jobs, name)


app = TaskQ(cast("Backend", CutStore()))


@app.handler("ok")
async def succeed(job: Job) -> None:
    """End well."""
