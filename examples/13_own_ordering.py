"""An ordering of your own: which due job of a queue goes first. This one lets the newest go first.

Prints:
    third
    second
    first
"""

import asyncio

from gotaskq import Job, TaskQ
from gotaskq.policies.ordering import MAX_RANK
from gotaskq.testing import drain, frozen_clock


class Lifo:
    def rank(self, *, priority: int, created_at_ms: int) -> int:
        return MAX_RANK - created_at_ms  # the lowest rank goes first


app = TaskQ(ordering=Lifo())


@app.handler("show")
async def show(job: Job) -> None:
    print(job.payload)


async def main() -> None:
    async with app.override():
        with frozen_clock(app) as time:
            for word in ("first", "second", "third"):
                await app.enqueue("show", word)
                time.tick(seconds=0.001)
        await drain(app)


if __name__ == "__main__":
    asyncio.run(main())
