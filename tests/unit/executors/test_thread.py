"""The thread executor: `def` handlers in daemon threads, bounded, abandoned when their call is cancelled."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import pytest
from tests.unit.engine.jobs import running

from gotaskq.executors.thread import ThreadExecutor
from gotaskq.job import Job

JOB = running()
PATIENCE_S = 10  # a thread takes real time; this is how long a broken one may hold up the tests
user: ContextVar[str] = ContextVar("user", default="nobody")


@pytest.fixture
async def executor() -> AsyncIterator[ThreadExecutor]:
    executor = ThreadExecutor(2)
    async with asyncio.timeout(PATIENCE_S):
        yield executor
    executor.close()


class Gate:
    """A handler that says when it has started, and waits to be let go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self._let_go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, job: Job) -> object:
        self.threads.append(threading.current_thread())
        self._loop.call_soon_threadsafe(self.started.set)
        self._let_go.wait(PATIENCE_S)
        self._loop.call_soon_threadsafe(self.ended.set)
        return "let go"

    def open(self) -> None:
        self._let_go.set()


async def test_it_returns_what_the_handler_returns(executor: ThreadExecutor) -> None:
    def answer(job: Job) -> object:
        return job

    assert await executor.run(answer, JOB) is JOB


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(3), KeyError("a")])
async def test_what_the_handler_raises_comes_through_as_it_is(executor: ThreadExecutor, error: BaseException) -> None:
    def fail(job: Job) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await executor.run(fail, JOB)

    assert raised.value is error


async def test_stop_iteration_comes_through_in_words(executor: ThreadExecutor) -> None:
    def stop(job: Job) -> None:
        raise StopIteration(1)

    with pytest.raises(RuntimeError, match=r"StopIteration\(1\)"):
        await executor.run(stop, JOB)


async def test_a_coroutine_that_nobody_awaits_is_an_error(executor: ThreadExecutor) -> None:
    async def work() -> None:
        pass

    def forget(job: Job) -> object:
        return work()

    with pytest.raises(TypeError, match="async def"):
        await executor.run(forget, JOB)


async def test_a_handler_runs_in_a_daemon_thread_of_its_own_name(executor: ThreadExecutor) -> None:
    def name(job: Job) -> tuple[str, bool, bool]:
        thread = threading.current_thread()
        return thread.name, thread.daemon, thread is threading.main_thread()

    assert await executor.run(name, JOB) == ("gotaskq-handler", True, False)


async def test_a_handler_sees_a_copy_of_its_callers_context(executor: ThreadExecutor) -> None:
    def change_user(job: Job) -> str:
        before = user.get()
        user.set("eve")
        return before

    token = user.set("ada")
    seen = [await executor.run(change_user, JOB) for _ in range(2)]
    after = user.get()
    user.reset(token)

    assert seen == ["ada", "ada"]
    assert after == "ada"


async def test_no_more_threads_run_than_allowed(executor: ThreadExecutor) -> None:
    gates = [Gate() for _ in range(3)]
    calls = [asyncio.create_task(executor.run(gate, JOB)) for gate in gates]
    await gates[0].started.wait()
    await gates[1].started.wait()
    third_started_early = gates[2].started.is_set()

    gates[0].open()
    await gates[2].started.wait()
    for gate in gates[1:]:
        gate.open()
    results = [await call for call in calls]

    assert not third_started_early
    assert results == ["let go"] * 3
    assert len({thread.ident for gate in gates for thread in gate.threads}) == 2


async def test_calls_one_after_the_other_share_a_thread(executor: ThreadExecutor) -> None:
    def name(job: Job) -> object:
        return threading.current_thread()

    threads = {await executor.run(name, JOB) for _ in range(5)}

    assert len(threads) <= 2


async def test_a_cancelled_call_goes_on_until_its_handler_has_ended() -> None:
    executor = ThreadExecutor(1)
    gate = Gate()
    call = asyncio.create_task(executor.run(gate, JOB))
    await within_patience(gate.started)

    call.cancel()
    await asyncio.sleep(0)
    was_done = call.done()
    gate.open()
    await asyncio.wait([call])

    assert not was_done
    assert not call.cancelled()
    assert executor.abandoned == 0
    executor.close()


async def test_a_call_cancelled_twice_is_abandoned_and_another_takes_its_place() -> None:
    executor = ThreadExecutor(1)
    gate = Gate()
    call = asyncio.create_task(executor.run(gate, JOB))
    await within_patience(gate.started)

    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    abandoned = executor.abandoned
    result = await asyncio.wait_for(executor.run(lambda job: "next", JOB), PATIENCE_S)
    gate.open()
    await within_patience(gate.ended)
    gate.threads[0].join(PATIENCE_S)

    assert call.cancelled()
    assert (abandoned, result) == (1, "next")
    assert executor.abandoned == 0
    executor.close()


async def test_a_call_that_is_cancelled_before_it_started_never_runs() -> None:
    executor = ThreadExecutor(1)
    gate = Gate()
    ran: list[Job] = []
    first = asyncio.create_task(executor.run(gate, JOB))
    await within_patience(gate.started)
    second = asyncio.create_task(executor.run(ran.append, JOB))
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.wait([second])
    gate.open()
    await first
    await asyncio.wait_for(executor.run(lambda job: None, JOB), PATIENCE_S)

    assert ran == []
    assert executor.abandoned == 0
    executor.close()


async def test_closing_lets_free_threads_end_and_waits_for_none() -> None:
    executor = ThreadExecutor(2)
    gate = Gate()
    call = asyncio.create_task(executor.run(gate, JOB))
    await within_patience(gate.started)

    executor.close()
    is_alive_while_busy = gate.threads[0].is_alive()
    gate.open()
    await call
    gate.threads[0].join(PATIENCE_S)

    assert is_alive_while_busy
    assert not gate.threads[0].is_alive()


async def test_it_can_be_used_again_after_closing() -> None:
    executor = ThreadExecutor(1)
    answer: Callable[[Job], object] = lambda job: "again"  # noqa: E731 - a handler in one line
    await asyncio.wait_for(executor.run(answer, JOB), PATIENCE_S)
    executor.close()

    executor.open()
    result = await asyncio.wait_for(executor.run(answer, JOB), PATIENCE_S)

    assert result == "again"
    executor.close()


async def within_patience(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE_S)
