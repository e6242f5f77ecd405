"""A retry policy of your own: how long to wait after a failure, or that there is no use.

Prints:
    BusyError: ada@example.com: run again in 30000 ms
    KeyError: 'to': dead, no_retry
"""

import asyncio
from random import Random

from gotaskq import Job, TaskQ
from gotaskq.events import Event, JobDied, JobRetryScheduled
from gotaskq.job import DeathReason
from gotaskq.policies.retry import ExponentialBackoff, GiveUp, Retry, RetryIn
from gotaskq.testing import drain

OTHERWISE = ExponentialBackoff()


class BusyError(Exception):
    retry_after_s = 30


class AsTheServerSays:
    def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
        if isinstance(error, BusyError):
            return RetryIn(error.retry_after_s * 1_000)
        if isinstance(error, KeyError | TypeError):  # no later attempt mends a bug
            return GiveUp(DeathReason.NO_RETRY)
        return OTHERWISE.decide(job, error, rng=rng)


app = TaskQ(retry=AsTheServerSays())


@app.handler("email")
async def send_email(job: Job) -> None:
    raise BusyError(job.payload["to"])


def tell(event: Event) -> None:
    if isinstance(event, JobRetryScheduled):
        print(f"{event.error}: run again in {event.delay_ms} ms")
    elif isinstance(event, JobDied):
        print(f"{event.error}: dead, {event.reason.value}")


async def main() -> None:
    app.observe(tell)
    async with app.override():
        await app.enqueue("email", {"to": "ada@example.com"})
        await app.enqueue("email", {})
        await drain(app, raise_errors=False)


if __name__ == "__main__":
    asyncio.run(main())
