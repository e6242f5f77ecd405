"""Calls a type checker must refuse, each line with the code of its error; the rest must pass. Never imported.

Checked by test_wrong_calls.py; left out of the ordinary run of mypy.
"""

from gotaskq import INJECTED, Context, Job, JobHandle, Status, SyncJobHandle, TaskQ

app = TaskQ()


@app.task("email", queue="mail", priority=5)
async def send_email(ctx: Context, to: str, subject: str = "hi") -> int:
    return 1


class Mailer:
    pass


@app.task()
async def invite(to: str, *, mailer: Mailer = INJECTED) -> None:
    pass


@app.task()
def resize(path: str, *, width: int = 800) -> str:
    return path


async def right(ctx: Context) -> None:
    handle: JobHandle[int] = await send_email.enqueue("a@b.c", subject="x")
    number: int = await handle.result(timeout=1)
    text: str = await (await resize.options(delay=1, priority=9).enqueue("a.png", width=1)).result()
    direct: int = await send_email(ctx, "a@b.c")
    at_once: str = resize("a.png", width=number)
    await invite.enqueue("a@b.c")
    await invite("a@b.c", mailer=Mailer())
    await app.enqueue_many([send_email.job("a@b.c"), resize.job(path=text + at_once * direct)])


def right_sync() -> None:
    handle: SyncJobHandle[int] = send_email.enqueue_sync("a@b.c", subject="x")
    number: int = handle.result(timeout=1)
    text: str = resize.options(delay=1).enqueue_sync("a.png", width=number).result()
    status: Status = handle.status()
    job: Job = handle.cancel()
    by_name: Job = app.enqueue_sync("email", {"to": text, "status": status.value}, priority=job.priority)
    ended: Job = app.wait_sync(by_name.id, timeout=1.5)
    app.cancel_sync(ended.id)


def wrong_sync(ctx: Context) -> None:
    send_email.enqueue_sync()  # E: call-arg
    send_email.enqueue_sync(1)  # E: arg-type
    send_email.enqueue_sync("a@b.c", subjekt="x")  # E: call-arg
    send_email.enqueue_sync(ctx, "a@b.c")  # E: arg-type
    resize.options(delay=1).enqueue_sync("a.png", 800)  # E: call-arg
    text: str = send_email.enqueue_sync("a@b.c").result()  # E: assignment
    send_email.enqueue_sync("a@b.c").result(timeout=text)  # E: arg-type
    text = next(send_email.enqueue_sync("a@b.c").events())  # E: assignment
    handle: JobHandle[int] = send_email.enqueue_sync("a@b.c")  # E: assignment
    app.enqueue_sync("email", {}, prioritty=handle.id)  # E: call-arg


async def wrong(ctx: Context) -> None:
    await send_email.enqueue()  # E: call-arg
    await send_email.enqueue(1)  # E: arg-type
    await send_email.enqueue("a@b.c", subjekt="x")  # E: call-arg
    await send_email.enqueue("a@b.c", "x", "y")  # E: call-arg
    await send_email.enqueue(ctx, "a@b.c")  # E: arg-type
    await send_email.options(delay=1).enqueue("a@b.c", subject=2)  # E: arg-type
    send_email.options(colour="red")  # E: call-arg
    send_email.options(priority="high")  # E: arg-type
    send_email.job("a@b.c", 3)  # E: arg-type
    resize.job("a.png", 800)  # E: call-arg
    text: str = await (await send_email.enqueue("a@b.c")).result()  # E: assignment
    await send_email("a@b.c")  # E: arg-type, call-arg
    await invite("a@b.c", mailer="smtp")  # E: arg-type
    resize(7)  # E: arg-type
    number: int = resize(text)  # E: assignment
    await app.enqueue("email", {}, prioritty=number)  # E: call-arg
    app.task(executor="thread")  # E: arg-type
