"""Middleware: what stands around an enqueue and around an attempt; it may change what happens. The first is outermost.

Prints:
    refused: payload.to is missing
    enqueued for tenant blue
    [blue] mail to ada@example.com
    [blue] email took its time
"""

import asyncio

import msgspec
from msgspec.structs import replace

from gotaskq import Job, JobRequest, TaskQ
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.submission import SubmitNext
from gotaskq.errors import InvalidRequestError
from gotaskq.testing import drain


async def require_address(request: JobRequest, call_next: SubmitNext) -> Job:
    if "to" not in msgspec.json.decode(request.payload):
        raise InvalidRequestError("payload.to is missing", field="payload")  # 400 where it came by HTTP
    return await call_next(request)


async def add_tenant(request: JobRequest, call_next: SubmitNext) -> Job:
    payload = {**msgspec.json.decode(request.payload), "tenant": "blue"}
    job = await call_next(replace(request, payload=msgspec.Raw(msgspec.json.encode(payload))))
    print("enqueued for tenant", job.payload["tenant"])
    return job


async def tell(job: Job, call_next: CallNext) -> object:
    try:
        return await call_next(job)
    finally:
        print(f"[{job.payload['tenant']}] {job.type} took its time")


app = TaskQ(middleware=[tell], enqueue_middleware=[require_address, add_tenant])


@app.handler("email")
async def send_email(job: Job) -> None:
    print(f"[{job.payload['tenant']}] mail to {job.payload['to']}")


async def main() -> None:
    async with app.override():
        try:
            await app.enqueue("email", {})
        except InvalidRequestError as error:
            print("refused:", error)
        await app.enqueue("email", {"to": "ada@example.com"})
        await drain(app)


if __name__ == "__main__":
    asyncio.run(main())
