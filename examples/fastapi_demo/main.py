"""A FastAPI application that sends its e-mail as jobs.

BACKEND_URL=redis://localhost:6379/0 uvicorn main:api
gotaskq worker main:queue --backend redis://localhost:6379/0    # more workers, in processes of their own
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException

from gotaskq import Context, TaskQ
from gotaskq.contrib.fastapi import lifespan_workers
from gotaskq.errors import JobNotFoundError

queue = TaskQ(os.environ.get("BACKEND_URL", "memory://"))


@queue.handler("welcome")
async def welcome(context: Context) -> dict[str, str]:
    await asyncio.sleep(0.01)  # where the e-mail would be sent
    return {"sent_to": context.job.payload["to"]}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with queue, lifespan_workers(queue, concurrency=4):  # without the second, this process only enqueues
        yield


def the_queue() -> TaskQ:  # a dependency, so that a test can put another one in its place
    return queue


Queue = Annotated[TaskQ, Depends(the_queue)]
api = FastAPI(lifespan=lifespan)
api.mount("/queue-admin", queue.asgi())


@api.post("/signup", status_code=202)
async def sign_up(to: str, jobs: Queue) -> dict[str, str]:
    return {"job": str((await jobs.enqueue("welcome", {"to": to})).id)}


@api.post("/signup-sync", status_code=202)
def sign_up_in_a_thread(to: str, jobs: Queue) -> dict[str, str]:  # FastAPI runs a `def` in a thread
    return {"job": str(jobs.enqueue_sync("welcome", {"to": to}).id)}


@api.get("/signup/{job_id}")
async def look(job_id: int, jobs: Queue) -> dict[str, object]:
    try:
        job = await jobs.get(job_id)
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    return {"status": job.status.value, "result": job.result}
