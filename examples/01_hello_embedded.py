"""A queue inside a program: define handlers, enqueue jobs, run them here.

Prints:
    mail to ada@example.com: welcome
    resized cat.png to 800 pixels
    flaky: attempt 1
    flaky: attempt 2
    3 jobs done
"""

import asyncio

from gotaskq import FixedDelay, Job, TaskQ
from gotaskq.events import Event, JobDone

app = TaskQ()


@app.handler("email")
async def send_email(job: Job) -> None:
    print(f"mail to {job.payload['to']}: {job.payload['subject']}")


@app.handler("resize")
def resize(job: Job) -> None:  # a `def` runs in a thread
    print(f"resized {job.payload} to 800 pixels")


@app.handler("flaky", retry=FixedDelay(10))
async def flaky(job: Job) -> None:
    print(f"flaky: attempt {job.attempt}")
    if job.attempt == 1:
        raise ConnectionError("the other side hung up")


async def main() -> None:
    done: asyncio.Queue[Event] = asyncio.Queue()
    app.observe(done.put_nowait, [JobDone])
    async with app, app.workers(concurrency=1):
        await app.enqueue("email", {"to": "ada@example.com", "subject": "welcome"}, priority=9)
        await app.enqueue("resize", "cat.png", priority=5)
        await app.enqueue("flaky", max_retries=3)
        jobs = [await done.get() for _ in range(3)]
    print(len(jobs), "jobs done")


if __name__ == "__main__":
    asyncio.run(main())
