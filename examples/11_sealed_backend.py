"""A store before the store: payloads are sealed on their way in and opened on their way out; the rest passes through.

Prints:
    in the store: b'eyJ0byI6ImFkYUBleGFtcGxlLmNvbSJ9'
    mail to ada@example.com
"""

import asyncio
import base64
from collections.abc import Iterable, Sequence
from typing import cast

from msgspec.structs import replace

from gotaskq import Job, TaskQ
from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import Backend, EnqueueReply, JobQuery, Page
from gotaskq.job import JobId
from gotaskq.policies.scheduling import Turn
from gotaskq.testing import FlakyBackend, drain


def sealed(job: Job) -> Job:
    return replace(job, payload_json=base64.b64encode(job.payload_json))  # stands for a cipher


def opened(jobs: Iterable[Job | None]) -> list[Job]:
    return [replace(job, payload_json=base64.b64decode(job.payload_json)) for job in jobs if job]


class SealedBackend:
    def __init__(self, store: Backend) -> None:
        self.store = store

    def __getattr__(self, name: str) -> object:  # what hands out no payload
        if name in ("enqueue_now", "hear_cancels"):  # abilities beside the rest would go past us
            raise AttributeError(name)
        return getattr(self.store, name)

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> Sequence[EnqueueReply]:
        return await self.store.enqueue([sealed(job) for job in jobs], atomic=atomic)

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        return opened(await self.store.reserve(turns, limit=limit, lease_ms=lease_ms, worker=worker))

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        return opened(await self.store.reap(limit=limit, max_crashes=max_crashes))

    async def expire(self, *, limit: int) -> list[Job]:
        return opened(await self.store.expire(limit=limit))

    async def get(self, job_id: JobId) -> Job | None:
        return next(iter(opened([await self.store.get(job_id)])), None)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        page = await self.store.list_jobs(replace(query, payload=()), after=after, limit=limit)
        return Page([job for job in opened(page.jobs) if query.admits(job)], page.next_cursor)

    async def cancel(self, job_id: JobId) -> Job | None:
        return next(iter(opened([await self.store.cancel(job_id)])), None)

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        if amendment.payload_json is not None:
            amendment = replace(amendment, payload_json=base64.b64encode(amendment.payload_json))
        amended = await self.store.amend(job_id, amendment)
        return Amended(opened([amended.job])[0], amended.is_amended) if amended else None

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        return opened(await self.store.replay(job_ids))


async def main() -> None:
    app = TaskQ()
    bare = FlakyBackend()  # told nothing; holds the store that is sealed

    @app.handler("email")
    async def send_email(job: Job) -> None:
        print(f"mail to {job.payload['to']}")

    async with app.override(wrap=lambda store: cast("Backend", SealedBackend(bare.around(store)))):
        job = await app.enqueue("email", {"to": "ada@example.com"})
        stored = await bare.get(job.id)
        print("in the store:", stored and stored.payload_json)
        await drain(app)


if __name__ == "__main__":
    asyncio.run(main())
