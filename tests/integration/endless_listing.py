"""An app on Redis whose listing has no end: an operation on it runs until it is cancelled, or its process is killed."""

import asyncio
import os
from random import Random

from gotaskq import TaskQ
from gotaskq.backend import JobQuery, Page
from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import SystemClock
from gotaskq.store_limits import StoreLayout

PAUSE_S = 0.01  # so that the loop has time for more than this


class Endless(RedisBackend):
    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        await asyncio.sleep(PAUSE_S)
        return Page([], "on")


layout = StoreLayout(key_prefix=os.environ["KEY_PREFIX"])
app = TaskQ(Endless(os.environ["BACKEND_URL"], clock=SystemClock(), rng=Random(), layout=layout))
