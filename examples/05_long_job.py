"""Long jobs: one fails and goes on from its checkpoint, one says how far it is and is cancelled.

Prints:
    import: attempt 1 reads page 1
    import: attempt 1 reads page 2
    import: attempt 2 reads page 2
    import: attempt 2 reads page 3
    3 pages, after ConnectionError: the other side hung up
    watch: 25% (1 of 4)
    watch: cleans up
    CANCELLED
"""

import asyncio

from gotaskq import Context, FixedDelay, TaskQ
from gotaskq.events import Event, JobCancelled, JobDone, JobProgressed

app = TaskQ()


@app.handler("import", retry=FixedDelay(10), timeout=30)
async def import_pages(ctx: Context) -> int:
    first: int = ctx.job.checkpoint["page"] if ctx.job.checkpoint else 1
    for page in range(first, 4):
        ctx.checkpoint({"page": page})
        print(f"import: attempt {ctx.attempt} reads page {page}")
        if page == 2 and ctx.attempt == 1:
            raise ConnectionError("the other side hung up")
    return page


@app.handler("watch")
def watch(ctx: Context) -> None:  # a thread cannot be stopped from outside: it has to look
    ctx.progress(1 / 4, "1 of 4")
    while not ctx.wait_for_cancel(60):
        pass
    print("watch: cleans up")


async def main() -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()
    app.observe(told.put_nowait, [JobDone, JobProgressed, JobCancelled])
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("import")
        await told.get()
        job = await app.get(job.id)
        print(job.result, "pages, after", job.trail.attempts[0].error)

        job = await app.enqueue("watch")
        progressed = await told.get()
        if isinstance(progressed, JobProgressed):
            print(f"watch: {progressed.progress:.0%} ({progressed.note})")
        await app.cancel(job.id)
        await told.get()
        print((await app.get(job.id)).status.value)


if __name__ == "__main__":
    asyncio.run(main())
