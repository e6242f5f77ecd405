"""Typed tasks: the signature says what a job's payload is, and whoever sends another is told where it is wrong.

Prints:
    mail to ada@example.com: welcome (attempt 1)
    report of 2026-11-23, 800 wide
    $.payload.to: invalid payload: Expected `str` matching regex '@'
    $.payload.width: invalid payload: Expected `int`, got `str`
    still a function: report of 2026-11-24, 100 wide
"""

import asyncio
from datetime import date
from typing import Annotated

from msgspec import Meta

from gotaskq import Context, TaskQ
from gotaskq.errors import InvalidPayloadError

app = TaskQ()


@app.task("email", queue="mail", max_retries=3)
async def send_email(ctx: Context, to: Annotated[str, Meta(pattern="@")], subject: str) -> None:
    print(f"mail to {to}: {subject} (attempt {ctx.attempt})")


@app.task()
def report(day: date, width: int = 800) -> str:
    return f"report of {day.isoformat()}, {width} wide"


@app.task()
def show(day: date) -> None:
    print(report(day))


async def main() -> None:
    async with app, app.workers(concurrency=1):
        mail = await send_email.enqueue("ada@example.com", subject="welcome")
        await mail.result(timeout=10)
        shown = await show.options(priority=9).enqueue(date(2026, 11, 23))
        await shown.result(timeout=10)
        for job_type, payload in (
            ("email", {"to": "ada", "subject": ""}),
            ("report", {"day": "2026-11-23", "width": "x"}),
        ):
            try:
                await app.enqueue(job_type, payload)
            except InvalidPayloadError as error:
                print(f"{error.field}: {error}")
    print("still a function:", report(date(2026, 11, 24), width=100))


if __name__ == "__main__":
    asyncio.run(main())
