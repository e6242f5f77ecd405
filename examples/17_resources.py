"""Resources: what a worker opens once, gives to handlers by type, and closes after its drain. Tests give their own.

Prints:
    connected
    Ada
    disconnected
    in a test: nobody
"""

import asyncio
from collections.abc import AsyncIterator

from gotaskq import Job, TaskQ
from gotaskq.events import JobDone

app = TaskQ()


class Database:
    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def name_of(self, user: int) -> str:
        return self.names.get(user, "nobody")


@app.resource
async def connect() -> AsyncIterator[Database]:
    print("connected")
    yield Database({1: "Ada"})
    print("disconnected")


@app.handler("greet")
async def greet(job: Job, database: Database) -> str:
    return database.name_of(job.payload)


async def main() -> None:
    done = asyncio.Event()
    app.observe(lambda _: done.set(), [JobDone])
    async with app, app.workers(concurrency=5):
        job = await app.enqueue("greet", 1)
        await done.wait()
        print((await app.get(job.id)).result)
    async with app.override(mode="inline", resources={Database: Database({})}):
        print("in a test:", (await app.enqueue("greet", 1)).result)


if __name__ == "__main__":
    asyncio.run(main())
