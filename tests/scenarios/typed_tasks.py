"""Tasks that run in child processes: importable by name, as a child needs them."""

import asyncio
import os
from datetime import date, timedelta

from gotaskq import Context, TaskQ
from gotaskq.executors.process.options import ProcessOptions

app = TaskQ("memory://", children=ProcessOptions())


@app.task(executor="process", max_retries=0)
def check_day(ctx: Context, day: date, parent: int) -> None:
    """Fail unless this is a child that was given a date."""
    if os.getpid() == parent or (day.isoformat(), ctx.attempt) != ("2026-11-23", 1):
        raise ValueError(f"{day!r} in {os.getpid()}, attempt {ctx.attempt}")


@app.task(executor="process", max_retries=0)
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(executor="process", max_retries=0)
async def wait_there(day: date) -> date:
    await asyncio.sleep(0)
    return day + timedelta(days=1)
