"""The registry: which function runs which type, and where."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest
from tests.unit.engine.jobs import NoReports, running

from gotaskq.context import RUNNING_JOB, SEAT, Context
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.registry import MAX_TIMEOUT_S, Registry
from gotaskq.engine.slot import Slot
from gotaskq.errors import RegistrationError
from gotaskq.executor import Handler
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.job import Job
from gotaskq.policies.retry import NoRetry


class NamedExecutor:
    """Says its own name instead of running anything."""

    abandoned = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def run(self, handler: Handler, job: Job) -> object:
        return self.name


class AsyncCallable:
    async def __call__(self, job: Job) -> None:
        pass


class SyncCallable:
    def __call__(self, job: Job) -> None:
        pass


async def on_loop(job: Job, *, more: int = 0) -> None:
    pass


def in_thread(job: Job, *, more: int = 0) -> None:
    pass


@pytest.fixture
def registry() -> Registry:
    return Registry(on_loop=NamedExecutor("loop"), in_thread=NamedExecutor("thread"), in_child=NamedExecutor("process"))


@pytest.mark.parametrize(
    ("handler", "place"),
    [
        (on_loop, "loop"),
        (partial(on_loop, more=1), "loop"),
        (AsyncCallable(), "loop"),
        (AsyncCallable().__call__, "loop"),
        (in_thread, "thread"),
        (partial(in_thread, more=1), "thread"),
        (SyncCallable(), "thread"),
        (print, "thread"),
        (lambda job: None, "thread"),
    ],
)
async def test_async_handlers_run_on_the_loop_and_others_in_a_thread(
    registry: Registry, handler: Handler, place: str
) -> None:
    registration = registry.register("work", handler)

    ran = await registration.call(running())

    assert ran == place


@pytest.mark.parametrize("timeout_s", [0.001, 30, MAX_TIMEOUT_S, None])
def test_a_timeout_of_up_to_a_year_is_taken(registry: Registry, timeout_s: float | None) -> None:
    assert registry.register("email", on_loop, timeout=timeout_s).timeout_s == timeout_s


@pytest.mark.parametrize("timeout_s", [0, -1, MAX_TIMEOUT_S + 1, float("nan"), float("inf")])
def test_another_timeout_is_refused_with_the_range(registry: Registry, timeout_s: float) -> None:
    with pytest.raises(RegistrationError, match="more than 0 and at most 31536000 seconds, or None for none"):
        registry.register("email", on_loop, timeout=timeout_s)

    assert registry.types() == []


def test_a_registration_is_found_by_its_type(registry: Registry) -> None:
    registration = registry.register("email", on_loop, retry=NoRetry())

    assert registry.find("email") is registration
    assert registry.find("Email") is None
    assert (registration.type, registration.handler, registration.retry) == ("email", on_loop, NoRetry())


def test_the_types_are_sorted(registry: Registry) -> None:
    for job_type in ("b", "a", "c"):
        registry.register(job_type, on_loop)

    assert registry.types() == ["a", "b", "c"]


@pytest.mark.parametrize("job_type", ["a", "0", "email.send", "a/b:c-d_e", "A" * 128])
def test_a_type_within_the_rule_is_taken(registry: Registry, job_type: str) -> None:
    assert registry.register(job_type, on_loop).type == job_type


@pytest.mark.parametrize("job_type", ["", " ", "-a", ".a", "a b", "a\n", "größe", "a" * 129, "a{b}", "a\x00"])
def test_a_type_outside_the_rule_is_refused_with_the_rule(registry: Registry, job_type: str) -> None:
    with pytest.raises(RegistrationError, match="must be 1 to 128 of"):
        registry.register(job_type, on_loop)


def test_a_type_has_one_handler(registry: Registry) -> None:
    registry.register("email", on_loop)

    with pytest.raises(RegistrationError, match="has a handler already"):
        registry.register("email", in_thread)

    found = registry.find("email")
    assert found is not None
    assert found.handler is on_loop


def test_what_cannot_be_called_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistrationError, match="cannot be called"):
        registry.register("email", "send_email")  # type: ignore[arg-type]  # what a user without a type checker may pass


async def test_middleware_is_put_around_every_handler() -> None:
    async def shout(job: Job, call_next: CallNext) -> object:
        return f"{await call_next(job)}!"

    registry = Registry(
        on_loop=AsyncioExecutor(),
        in_thread=NamedExecutor("thread"),
        in_child=NamedExecutor("process"),
        middleware=[shout],
    )
    registration = registry.register("work", in_thread)

    ran = registration.call(running())

    assert isinstance(ran, Awaitable)
    assert await ran == "thread!"


async def test_a_handler_runs_in_a_process_when_asked(registry: Registry) -> None:
    registration = registry.register("resize", in_thread, executor="process")

    assert await registration.call(running()) == "process"


@pytest.mark.parametrize("more", [{"executor": "process"}, {"isolate_after_crash": True}])
def test_a_handler_that_no_process_can_find_is_refused(registry: Registry, more: dict[str, Any]) -> None:
    with pytest.raises(RegistrationError, match="top level of a module"):
        registry.register("resize", lambda job: None, **more)

    assert registry.types() == []


@pytest.mark.parametrize(("handler", "here"), [(on_loop, "loop"), (in_thread, "thread")])
async def test_a_job_that_has_cost_a_worker_runs_in_a_child_when_asked(
    registry: Registry, handler: Handler, here: str
) -> None:
    registration = registry.register("resize", handler, isolate_after_crash=True)

    ran = [await registration.call(running(attempt=crashes + 1, crashes=crashes)) for crashes in (0, 1, 2)]

    assert ran == [here, "process", "process"]


async def test_without_that_wish_it_runs_where_it_did(registry: Registry) -> None:
    assert await registry.register("resize", in_thread).call(running(crashes=1)) == "thread"


async def test_what_every_executor_has_abandoned_counts() -> None:
    executors = [NamedExecutor(name) for name in ("loop", "thread", "process")]
    for count, executor in enumerate(executors, 1):
        executor.abandoned = count

    registry = Registry(on_loop=executors[0], in_thread=executors[1], in_child=executors[2])

    assert registry.abandoned == 6


async def test_a_handler_that_asks_for_the_context_is_called_with_it() -> None:
    loop = AsyncioExecutor()
    registry = Registry(on_loop=loop, in_thread=NamedExecutor("thread"), in_child=NamedExecutor("process"))
    job, slot = running(), Slot(NoReports())
    slot.job = job

    async def tell(ctx: Context) -> object:
        return ctx

    SEAT.set(slot)
    RUNNING_JOB.set(job)
    told = await registry.register("email", tell).call(job)

    assert isinstance(told, Context)
    assert told.job is job
