"""Headers: a pair of middleware lets a context variable flow from where a job is asked for to where it runs.

Nothing flows by itself: a job may run in another process, on another day. What shall go with it is a header.

Prints:
    ada has asked for report 1, says ada
    bob has asked for report 2, says bob
    nobody is asking now
"""

import asyncio
from contextvars import ContextVar

from gotaskq import Context, Job, JobRequest, TaskQ
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.submission import SubmitNext
from gotaskq.testing import drain

USER: ContextVar[str] = ContextVar("user", default="nobody")


async def put_user_in(request: JobRequest, call_next: SubmitNext) -> Job:
    request.headers = {**(request.headers or {}), "user": USER.get()}
    return await call_next(request)


async def take_user_out(job: Job, call_next: CallNext) -> object:
    USER.set(job.headers.get("user", "nobody"))  # seen by this attempt, and by no other
    return await call_next(job)


app = TaskQ(enqueue_middleware=[put_user_in], middleware=[take_user_out])


@app.task()
async def report(ctx: Context, number: int) -> None:
    print(f"{ctx.headers['user']} has asked for report {number}, says {USER.get()}")


async def sign_in(user: str, number: int) -> None:
    USER.set(user)
    await report.enqueue(number)


async def main() -> None:
    async with app.override():
        await asyncio.create_task(sign_in("ada", 1))
        await asyncio.create_task(sign_in("bob", 2))
        await drain(app)
    print(f"{USER.get()} is asking now")


if __name__ == "__main__":
    asyncio.run(main())
