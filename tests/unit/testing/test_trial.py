"""A trial of one handler: its job, its context, and what it said."""

import threading
from collections.abc import Awaitable, Callable

import pytest
from msgspec import Raw

from gotaskq import Context, Job, JobRequest, Snooze, TaskQ, current_context
from gotaskq.errors import NoAttemptError, RegistrationError
from gotaskq.testing import Trial, run_job


async def show(job: Job) -> object:
    return job.payload


def show_in_thread(job: Job) -> object:
    assert threading.current_thread() is not threading.main_thread()
    assert current_context().job is job
    return job.payload


class Shower:
    async def __call__(self, job: Job) -> object:
        return job.payload


@pytest.mark.parametrize("handler", [show, show_in_thread, Shower()])
async def test_a_handler_gets_its_payload(handler: Callable[[Job], object]) -> None:
    assert await run_job(handler, [1, 2]) == [1, 2]
    assert await run_job(handler, to="a@b.c", n=1) == {"to": "a@b.c", "n": 1}
    assert await run_job(handler) is None


async def test_more_than_one_payload_is_refused() -> None:
    with pytest.raises(TypeError, match="one payload"):
        await run_job(show, 1, 2)
    with pytest.raises(TypeError, match="one payload"):
        await run_job(show, 1, to="a@b.c")
    with pytest.raises(TypeError, match="cannot be called"):
        await run_job(7)


async def test_a_handlers_error_is_the_callers() -> None:
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        await run_job(fail)


async def test_what_it_returns_comes_as_it_is() -> None:
    snooze, unfit = Snooze(5), object()
    given = iter([snooze, unfit])

    async def give(job: Job) -> object:
        return next(given)

    assert [await run_job(give), await run_job(give)] == [snooze, unfit]


async def test_the_context_says_and_hears_what_an_attempt_would() -> None:
    async def work(ctx: Context) -> tuple[int, bool, object]:
        ctx.progress(0.5, "half")
        ctx.checkpoint({"at": 9})
        ctx.extend(60)
        return ctx.attempt, ctx.is_cancelled, ctx.job.checkpoint

    trial = Trial(attempt=3, checkpoint={"at": 4}, is_cancelled=True)

    assert await trial.run(work) == (3, True, {"at": 4})
    assert (trial.progress, trial.checkpoint, trial.extended_s) == ([(0.5, "half")], {"at": 9}, [60])


async def test_the_job_is_one_of_that_attempt() -> None:
    async def tell(job: Job) -> tuple[int, int, int]:
        return job.attempt, job.retry_count, job.crashes

    assert await Trial(attempt=4, crashes=1).run(tell) == (4, 2, 1)


async def test_no_context_is_left_behind() -> None:
    await run_job(show)

    with pytest.raises(NoAttemptError):
        current_context()


async def test_a_type_is_looked_up_in_its_app() -> None:
    app = TaskQ()
    app.handler("show")(show)

    assert await Trial(app=app).run("show", 7) == 7
    with pytest.raises(RegistrationError, match="no handler for job type 'sow'; registered here: show"):
        await Trial(app=app).run("sow")
    with pytest.raises(TypeError, match="function that handles 'show'"):
        await run_job("show", 7)


class ATask:
    """What a task looks like from outside."""

    job_type = "add"

    @staticmethod
    def job(first: int, *, second: int = 1) -> JobRequest:
        return JobRequest("add", Raw(b"[%d,%d]" % (first, second)))

    @property
    def handler(self) -> Callable[[Job], Awaitable[object]]:
        async def run(job: Job) -> object:
            return job.type, sum(job.payload)

        return run


async def test_a_task_is_given_the_arguments_of_its_call() -> None:
    assert await run_job(ATask(), 1, second=2) == ("add", 3)
