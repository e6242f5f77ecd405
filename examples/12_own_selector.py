"""A queue selector of your own: which queue is next. This one gives the queue with the longest name its turn first.

Prints:
    newsletters
    newsletters
    default
    mail
"""

import asyncio
from collections.abc import Sequence

from gotaskq import Job, TaskQ
from gotaskq.policies.scheduling import Turn
from gotaskq.testing import drain


class LongestNameFirst:
    def order(self, queues: tuple[str, ...]) -> Sequence[Turn]:
        return [Turn(queue, 1_000) for queue in sorted(queues, key=len, reverse=True)]

    def served(self, queue: str) -> None:
        pass  # what was served does not change who is first


app = TaskQ(selector=LongestNameFirst)


@app.handler("show")
async def show(job: Job) -> None:
    print(job.queue)


async def main() -> None:
    async with app.override():
        for queue in ("mail", "newsletters"):
            await app.create_queue(queue)
        await app.enqueue_many([app.job("show", queue=queue) for queue in ("default", "newsletters", "mail")])
        await app.enqueue("show", queue="newsletters")
        await drain(app)


if __name__ == "__main__":
    asyncio.run(main())
