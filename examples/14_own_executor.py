"""An executor of your own: where a handler runs. This one lets at most so many run at once, whatever the worker allows.

Prints:
    6 done, at most 2 at once
"""

import asyncio

from gotaskq import Job, TaskQ
from gotaskq.events import Event, JobDone
from gotaskq.executor import Executor, Handler
from gotaskq.executors.asyncio_task import AsyncioExecutor


class AtMost:
    def __init__(self, calls: int, executor: Executor) -> None:
        self.calls = calls
        self.executor = executor

    @property
    def abandoned(self) -> int:
        return self.executor.abandoned

    def open(self) -> None:
        self.places = asyncio.Semaphore(self.calls)
        self.executor.open()

    def close(self) -> None:
        self.executor.close()

    async def run(self, handler: Handler, job: Job) -> object:
        async with self.places:
            return await self.executor.run(handler, job)


app = TaskQ()
running: list[int] = []
peaks: list[int] = []


@app.handler("call", executor=AtMost(2, AsyncioExecutor()))  # such as to a service that takes no more
async def call(job: Job) -> None:
    running.append(job.id)
    peaks.append(len(running))
    await asyncio.sleep(0.01)
    running.remove(job.id)


async def main() -> None:
    done: asyncio.Queue[Event] = asyncio.Queue()
    app.observe(done.put_nowait, [JobDone])
    async with app, app.workers(concurrency=10):
        await app.enqueue_many([app.job("call") for _ in range(6)])
        ended = [await done.get() for _ in range(6)]
    print(f"{len(ended)} done, at most {max(peaks)} at once")


if __name__ == "__main__":
    asyncio.run(main())
