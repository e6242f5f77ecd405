"""The contract of an executor: results, failures, cancelling, isolation, and an end that waits for nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from gotaskq.errors import RemoteError
from gotaskq.executor import Executor
from gotaskq.job import Job, JobId, Lease, Status, start
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import WORKER, Jobs
from gotaskq.testing.desk import PATIENCE_S, Desk
from gotaskq.testing.handlers import Handlers

SEED = 20_261_123  # fixed: a contract test that fails must fail again
ODD_JSON = b'{ "b" : 1.0,\n"a":[1e400, "\xc3\xa9\\u0041"] }'

RunningJob: TypeAlias = Callable[..., Job]


class ExecutorConformance:
    """Every sentence of the contract; subclass it, say which `handlers` it runs, and define `make_executor`."""

    handlers: Handlers

    def make_executor(self, capacity: int) -> Executor:
        """Return an executor that was not opened yet and runs so many calls at once; the suite opens and closes it."""
        raise NotImplementedError("a conformance test class must define make_executor")

    @pytest.fixture
    async def executor(self) -> AsyncIterator[Executor]:
        """Return an open executor for one call at a time."""
        executor = self.make_executor(1)
        executor.open()
        yield executor
        executor.close()

    @pytest.fixture
    async def desk(self) -> AsyncIterator[Desk]:
        async with Desk() as desk:
            yield desk

    @pytest.fixture
    def job(self) -> RunningJob:
        """Return the factory of running jobs: `job(b"1")` has this payload."""
        jobs = Jobs(FakeClock(), Random(SEED))

        def make(payload_json: bytes = b"null") -> Job:
            pending = jobs(payload_json=payload_json)
            return start(pending, lease=Lease(pending.id, "nonce"), worker=WORKER, now_ms=pending.created_at_ms)

        return make

    # -- what comes back -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("payload", [b"null", b'{"a":[1,2.5,"\xc3\xa9"],"b":null}', b'""', b"[]", b"false"])
    async def test_what_a_handler_returns_comes_back(self, executor: Executor, job: RunningJob, payload: bytes) -> None:
        running = job(payload)

        assert await executor.run(self.handlers.echo, running) == running.payload

    async def test_a_handler_sees_the_payloads_bytes_as_they_were_sent(
        self, executor: Executor, job: RunningJob
    ) -> None:
        assert await executor.run(self.handlers.show_bytes, job(ODD_JSON)) == ODD_JSON.decode()

    async def test_a_large_payload_arrives_whole(self, executor: Executor, job: RunningJob) -> None:
        payload = b'["' + b"x" * 40_000 + b'"]'

        assert await executor.run(self.handlers.show_bytes, job(payload)) == payload.decode()

    async def test_a_handler_sees_its_job(self, executor: Executor, job: RunningJob) -> None:
        running = replace(job(), id=JobId(2**63 - 1), type="email", queue="mail", attempt=4)

        seen = await executor.run(self.handlers.identify, running)

        assert seen == [2**63 - 1, "email", "mail", 4, Status.RUNNING.value]

    async def test_calls_one_after_the_other_do_not_mix(self, executor: Executor, job: RunningJob) -> None:
        results = [await executor.run(self.handlers.echo, job(b"%d" % number)) for number in range(50)]

        assert results == list(range(50))

    async def test_calls_at_once_do_not_wait_for_each_other(self, job: RunningJob, desk: Desk) -> None:
        executor = self.make_executor(2)
        executor.open()

        first = asyncio.ensure_future(executor.run(self.handlers.meet, job(b"%d" % desk.port)))
        second = asyncio.ensure_future(executor.run(self.handlers.meet, job(b"%d" % desk.port)))
        for visitor in [await desk.visitor(), await desk.visitor()]:
            visitor.answer("seen")

        assert await asyncio.wait_for(first, PATIENCE_S) == "seen"
        assert await asyncio.wait_for(second, PATIENCE_S) == "seen"
        executor.close()

    # -- failures ------------------------------------------------------------------------------------------------------

    async def test_what_a_handler_raises_is_told(self, executor: Executor, job: RunningJob) -> None:
        with pytest.raises(Exception, match="no luck") as raised:
            await executor.run(self.handlers.fail, job())

        assert (type_name(raised.value), str(raised.value)) == ("ValueError", "no luck")

    async def test_a_handler_that_exits_fails_alone(self, executor: Executor, job: RunningJob) -> None:
        with pytest.raises(BaseException, match="3") as raised:
            await executor.run(self.handlers.leave, job())

        assert (type_name(raised.value), str(raised.value)) == ("SystemExit", "3")
        assert await executor.run(self.handlers.echo, job(b"1")) == 1

    # -- cancelling ----------------------------------------------------------------------------------------------------

    async def test_a_call_cancelled_twice_ends_and_its_place_is_free(
        self, executor: Executor, job: RunningJob, desk: Desk
    ) -> None:
        call = asyncio.ensure_future(executor.run(self.handlers.meet, job(b"%d" % desk.port)))
        await desk.visitor()

        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])

        assert call.cancelled()
        assert await executor.run(self.handlers.echo, job(b"1")) == 1

    async def test_a_cancelled_call_is_over_when_its_handler_has_ended(
        self, executor: Executor, job: RunningJob, desk: Desk
    ) -> None:
        call = asyncio.ensure_future(executor.run(self.handlers.meet, job(b"%d" % desk.port)))
        visitor = await desk.visitor()

        call.cancel()
        await asyncio.sleep(0)
        visitor.answer("go")  # one that cannot be ended goes on until then
        await asyncio.wait([call], timeout=PATIENCE_S)

        assert call.done()
        assert await visitor.last_words() == ""

    # -- isolation and the end -----------------------------------------------------------------------------------------

    async def test_what_a_job_leaves_in_its_context_the_next_does_not_find(
        self, executor: Executor, job: RunningJob
    ) -> None:
        found = [await in_a_task_of_its_own(executor, self.handlers, job()) for _ in range(3)]

        assert found == ["nobody"] * 3

    async def test_closing_does_not_wait_for_a_handler_that_will_not_end(self, job: RunningJob, desk: Desk) -> None:
        executor = self.make_executor(1)
        executor.open()
        call = asyncio.ensure_future(executor.run(self.handlers.linger, job(b"%d" % desk.port)))
        visitor = await desk.visitor()

        executor.close()
        is_running_still = not call.done()

        assert is_running_still
        visitor.answer("go")
        await asyncio.wait([call], timeout=PATIENCE_S)
        assert call.done()
        call.exception()

    async def test_it_can_be_opened_again(self, job: RunningJob) -> None:
        executor = self.make_executor(1)

        results = []
        for number in range(2):
            executor.open()
            results.append(await asyncio.wait_for(executor.run(self.handlers.echo, job(b"%d" % number)), PATIENCE_S))
            executor.close()

        assert results == [0, 1]


def type_name(error: BaseException) -> str:
    """Return the name of what the handler raised, wherever it did."""
    return error.type_name if isinstance(error, RemoteError) else type(error).__name__


async def in_a_task_of_its_own(executor: Executor, handlers: Handlers, job: Job) -> object:
    """Run as the engine does: each attempt in a copy of the context."""

    async def run() -> object:
        return await executor.run(handlers.remember, job)

    return await asyncio.create_task(run())
