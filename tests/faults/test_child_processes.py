"""What real child processes do to themselves stays with them (faults 12 to 14)."""

import asyncio
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

import pytest
import uvloop
from tests.faults import crashing
from tests.unit.engine.jobs import NoReports, running

from gotaskq.clock import SystemClock
from gotaskq.context import SEAT
from gotaskq.control import Cancel, Control, Discard, Retry, Snooze
from gotaskq.engine.attempt import SUCCEEDED, begin_attempt
from gotaskq.engine.slot import Slot
from gotaskq.errors import ChildEndedError, RemoteError
from gotaskq.executors.process.executor import MAX_STARTS, ProcessExecutor
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.executors.process.supervisor import Child
from gotaskq.failure import describe
from gotaskq.job import Job
from gotaskq.outcome import Failed, Outcome
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.desk import PATIENCE_S, Desk
from gotaskq.testing.handlers import echo, fail, linger, meet

JOB = running()
ENDS = [
    (crashing.segfault, "child ended by signal 11 (SIGSEGV)"),
    (crashing.exit_3, "child exited with code 3"),
    (crashing.kill_self, "child ended by signal 9 (SIGKILL)"),
]


@contextmanager
def opened(options: ProcessOptions | None = None, **more: object) -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(options, **more)  # type: ignore[arg-type]
    executor.open()
    try:
        yield executor
    finally:
        executor.close()


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    with opened(max_children=2) as executor:
        yield executor


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with Desk() as desk:
        yield desk


async def run_in_a_slot(executor: ProcessExecutor, handler: Callable[[Job], object], reports: NoReports) -> Outcome:
    """Run an attempt as a worker does, which gives it a context."""
    slot = Slot(reports)
    SEAT.set(slot)
    slot.task = asyncio.current_task()
    begun = begin_attempt(partial(executor.run, handler), JOB, slot)
    return SUCCEEDED if begun is None else await begun


def to(desk: Desk) -> Job:
    return running(payload_json=b"%d" % desk.port)


async def ended(children: list[Child]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for child in children:
            await child.ended.wait()


class TestCrashes:
    @pytest.mark.parametrize(("handler", "text"), ENDS)
    async def test_the_end_of_a_child_is_the_failure_of_its_job(
        self, executor: ProcessExecutor, handler: Callable[[Job], None], text: str
    ) -> None:
        with pytest.raises(ChildEndedError) as raised:
            await executor.run(handler, JOB)

        assert str(raised.value) == text
        assert await executor.run(echo, running(payload_json=b"1")) == 1

    async def test_a_signal_meant_for_the_worker_does_not_end_a_child(self, executor: ProcessExecutor) -> None:
        assert await executor.run(crashing.make_quiet, JOB) == "still here"

    async def test_a_crash_leaves_the_job_beside_it_alone(self, executor: ProcessExecutor, desk: Desk) -> None:
        beside = asyncio.ensure_future(executor.run(meet, to(desk)))
        visitor = await desk.visitor()

        with pytest.raises(ChildEndedError):
            await executor.run(crashing.segfault, JOB)
        visitor.answer("untouched")

        assert await beside == "untouched"

    async def test_where_a_segfault_was_is_in_the_log(
        self, executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO), pytest.raises(ChildEndedError):
            await executor.run(crashing.segfault, JOB)

        assert any("crashing.py" in line for line in printed(caplog, "stderr"))

    async def test_too_much_memory_is_an_error_of_the_handler(self) -> None:
        with opened(ProcessOptions(memory_limit_bytes=1 << 30)) as executor:
            pid = await executor.run(crashing.tell_pid, JOB)

            with pytest.raises(RemoteError) as raised:
                await executor.run(crashing.allocate, running(payload_json=b"%d" % (2 << 30)))

            assert raised.value.type_name == "MemoryError"
            assert await executor.run(crashing.tell_pid, JOB) == pid

    async def test_what_a_job_left_running_is_killed_with_its_child(
        self, executor: ProcessExecutor, desk: Desk
    ) -> None:
        call = asyncio.ensure_future(executor.run(crashing.leave_a_descendant, to(desk)))
        visitors = {visitor.said: visitor for visitor in (await desk.visitor(), await desk.visitor())}

        visitors["started"].answer("crash")
        await visitors["descendant"].last_words()

        with pytest.raises(ChildEndedError, match="exited with code 1"):
            await call

    async def test_a_process_forked_off_by_a_handler_is_not_heard(self, executor: ProcessExecutor) -> None:
        results = [await executor.run(crashing.fork, JOB), await executor.run(echo, running(payload_json=b"1"))]

        assert results == ["asked", 1]

    @pytest.mark.parametrize("is_noticed", [False, True])
    async def test_an_idle_child_that_dies_charges_no_job(self, executor: ProcessExecutor, is_noticed: bool) -> None:
        pid = await executor.run(crashing.tell_pid, JOB)
        [child] = executor.children
        os.kill(child.pid, signal.SIGKILL)
        if is_noticed:
            await ended([child])

        after = await executor.run(crashing.tell_pid, JOB)
        await ended([child])

        assert child.pid == pid != after

    async def test_a_child_that_closes_its_pipe_is_killed(self, desk: Desk) -> None:
        with opened(ProcessOptions(heartbeat_s=0.01)) as executor:
            call = asyncio.ensure_future(executor.run(crashing.close_everything, to(desk)))
            visitor = await desk.visitor()

            visitor.answer("")

            with pytest.raises(ChildEndedError, match="SIGKILL"):
                await call


class TestCancelling:
    async def test_a_cancelled_handler_may_clean_up(self, clock: FakeClock, desk: Desk) -> None:
        with opened(clock=clock) as executor:
            call = asyncio.ensure_future(executor.run(crashing.clean_up, to(desk)))
            visitor = await desk.visitor()

            call.cancel()
            last_words = await visitor.last_words()
            await asyncio.wait([call], timeout=PATIENCE_S)

            assert last_words == "cleaned up"
            assert call.cancelled()
            assert clock.monotonic_s() == 0

    @pytest.mark.parametrize("handler", [crashing.ignore_sigterm, linger])
    async def test_a_handler_that_ignores_sigterm_is_killed_after_the_grace(
        self, clock: FakeClock, desk: Desk, handler: Callable[[Job], str]
    ) -> None:
        with opened(ProcessOptions(grace_s=5), clock=clock) as executor:
            call = asyncio.ensure_future(executor.run(handler, to(desk)))
            visitor = await desk.visitor()
            [child] = executor.children

            call.cancel()
            await clock.advance(4.999)
            was_left_alive = not child.ended.is_set() and not call.done()
            await clock.advance(0.001)
            await visitor.last_words()
            await asyncio.wait([call], timeout=PATIENCE_S)

            assert was_left_alive
            assert call.cancelled()
            assert child.ended.is_set()

    async def test_cancelling_again_kills_at_once(self, clock: FakeClock, desk: Desk) -> None:
        with opened(clock=clock) as executor:
            call = asyncio.ensure_future(executor.run(crashing.ignore_sigterm, to(desk)))
            visitor = await desk.visitor()

            call.cancel()
            await clock.settle()
            call.cancel()
            await visitor.last_words()
            await asyncio.wait([call], timeout=PATIENCE_S)

            assert call.cancelled()
            assert clock.monotonic_s() == 0

    async def test_a_call_cancelled_before_its_turn_never_runs(self, desk: Desk) -> None:
        with opened() as executor:
            first = asyncio.ensure_future(executor.run(meet, to(desk)))
            visitor = await desk.visitor()
            second = asyncio.create_task(executor.run(crashing.exit_3, JOB))
            await asyncio.sleep(0)

            second.cancel()
            await asyncio.wait([second])
            visitor.answer("done")

            assert await first == "done"
            assert len(executor.children) == 1

    async def test_a_child_that_is_silent_too_long_is_killed(self, clock: FakeClock, desk: Desk) -> None:
        options = ProcessOptions(max_silence_s=2_000, heartbeat_s=1_000)
        with opened(options, clock=clock) as executor:
            call = asyncio.ensure_future(executor.run(meet, to(desk)))
            visitor = await desk.visitor()

            await clock.advance(2_000)
            await visitor.last_words()

            with pytest.raises(ChildEndedError, match="SIGKILL"):
                await call

    async def test_a_busy_child_beats(self, clock: FakeClock, desk: Desk) -> None:
        beaten = asyncio.Event()
        with opened(ProcessOptions(heartbeat_s=0.001), clock=clock) as executor:
            call = asyncio.ensure_future(executor.run(crashing.spin, to(desk)))
            await desk.visitor()
            [child] = executor.children
            await clock.advance(60)
            child.data_received = overheard(child.data_received, beaten)  # type: ignore[method-assign, assignment]

            await asyncio.wait_for(beaten.wait(), PATIENCE_S)

            assert child.heard_at_s == 60
            call.cancel()
            await asyncio.wait([call])


class TestReplacing:
    async def test_a_hundred_jobs_on_two_children_replaced_every_ten(self) -> None:
        with opened(ProcessOptions(max_children=2, max_jobs_per_child=10)) as executor:
            pids = await asyncio.gather(*(executor.run(crashing.tell_pid, JOB) for _ in range(100)))

        assert len(pids) == 100
        assert max(Counter(pids).values()) == 10

    async def test_a_child_that_has_grown_is_replaced(self) -> None:
        with opened(ProcessOptions(max_rss_bytes=1)) as executor:
            pids = {await executor.run(crashing.tell_pid, JOB) for _ in range(3)}

        assert len(pids) == 3

    async def test_a_child_without_limits_is_kept(self, executor: ProcessExecutor) -> None:
        pids = {await executor.run(crashing.tell_pid, JOB) for _ in range(20)}

        assert len(pids) == 1


class HastyClock(SystemClock):
    """Does not sleep, but notes for how long it should have."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)


class TestStarting:
    async def test_starts_that_fail_come_slower_and_end_the_attempt(self, caplog: pytest.LogCaptureFixture) -> None:
        clock = HastyClock()
        options = ProcessOptions(env={"PYTHONHOME": "/nowhere"}, first_backoff_s=1, max_backoff_s=3)
        with opened(options, clock=clock, rng=Random(1)) as executor:
            for _ in range(2):
                with pytest.raises(ChildEndedError, match=f"{MAX_STARTS} times in a row; the last one: child exited"):
                    await executor.run(echo, JOB)

        assert [1 <= clock.slept_s[0] <= 1.4, 2 <= clock.slept_s[1] <= 2.8] == [True, True]
        assert all(3 <= slept_s <= 4.2 for slept_s in clock.slept_s[2:])
        assert len(clock.slept_s) == 2 * MAX_STARTS - 1

    async def test_a_module_that_is_not_there_is_named(
        self, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(crashing.tell_pid, "__module__", "tests.faults.nowhere")

        with pytest.raises(RemoteError, match=r"No module named 'tests\.faults\.nowhere'") as raised:
            await executor.run(crashing.tell_pid, JOB)

        assert raised.value.type_name == "ModuleNotFoundError"

    async def test_a_child_sees_only_the_environment_it_is_given(self) -> None:
        with opened(ProcessOptions(env={"COLOUR": "green"})) as executor:
            assert await executor.run(crashing.tell_environment, JOB) == ["COLOUR"]


class TestSpeaking:
    async def test_what_a_child_logs_and_prints_is_in_the_workers_log(self, caplog: pytest.LogCaptureFixture) -> None:
        reports = NoReports()
        with caplog.at_level(logging.INFO), opened() as executor:
            await run_in_a_slot(executor, crashing.speak, reports)
            [child] = executor.children
            child.retire()
            await ended([child])

        [logged] = [record for record in caplog.records if record.name == "shop.mail"]
        assert (logged.levelname, logged.getMessage()) == ("WARNING", "sold out")
        assert vars(logged)["job_id"] == str(JOB.id)
        assert reports.heard == [(JOB, 0.5, "half of it"), (JOB, b'{"page":4}'), (JOB, 60.0)]
        assert printed(caplog, "stdout") == ["printed", "without an end"]
        assert printed(caplog, "stderr") == ["printed, too"]

    @pytest.mark.parametrize(
        ("handler", "reason"),
        [
            (crashing.return_a_set, "TypeError: Encoding objects of type set_iterator is unsupported"),
            (crashing.return_much, "65538 bytes as JSON; at most 65536 are kept"),
        ],
    )
    async def test_a_result_that_cannot_be_kept_is_missed_with_a_warning(
        self,
        executor: ProcessExecutor,
        handler: Callable[[Job], object],
        reason: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        assert await executor.run(handler, JOB) is None

        assert f"result_not_kept: {reason}" in caplog.text

    @pytest.mark.parametrize(
        ("handler", "control", "said"),
        [
            (crashing.retry, Retry, {"delay_s": 5, "reason": "busy"}),
            (crashing.retry_after_an_error, Retry, {"delay_s": None, "reason": ""}),
            (crashing.snooze, Snooze, {"delay_s": 30}),
            (crashing.return_a_snooze, Snooze, {"delay_s": 30}),
            (crashing.cancel, Cancel, {"reason": "no need"}),
            (crashing.discard, Discard, {"reason": "no use"}),
        ],
    )
    async def test_what_a_handler_wants_of_its_job_comes_through(
        self,
        executor: ProcessExecutor,
        handler: Callable[[Job], object],
        control: type[Control],
        said: dict[str, object],
    ) -> None:
        with pytest.raises(control) as raised:
            await executor.run(handler, JOB)

        assert {name: getattr(raised.value, name) for name in said} == said

    async def test_what_led_to_a_retry_comes_through_with_it(self, executor: ProcessExecutor) -> None:
        outcome = await run_in_a_slot(executor, crashing.retry_after_an_error, NoReports())

        assert isinstance(outcome, Failed)
        assert outcome.error == "KeyError: 'page'"
        assert 'empty["page"]' in outcome.traceback

    async def test_code_that_outlives_its_job_does_not_find_the_context_of_the_next(
        self, executor: ProcessExecutor
    ) -> None:
        await executor.run(crashing.leave_code_behind, running(payload_json=b'"before"'))

        found = await executor.run(crashing.look_as_the_one_before, running(payload_json=b'"now"'))

        assert found == ["now", "NoAttemptError"]

    async def test_sigterm_while_a_handler_looks_whether_it_is_to_end_ends_it(self, executor: ProcessExecutor) -> None:
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ChildEndedError, match="SIGTERM"):
                await executor.run(crashing.end_while_looking, JOB)

    async def test_an_async_handler_has_an_event_loop_in_its_child(self, executor: ProcessExecutor) -> None:
        assert await executor.run(crashing.wait_a_moment, JOB) == ["waited", str(JOB.id)]

    async def test_a_long_error_is_cut(self, executor: ProcessExecutor) -> None:
        with pytest.raises(RemoteError) as raised:
            await executor.run(crashing.raise_at_length, JOB)

        assert str(raised.value) == "y" * 4_096
        assert len(raised.value.traceback) <= 4_096
        assert raised.value.traceback.endswith("y?\n")

    async def test_a_traceback_shows_the_handlers_own_lines(self, executor: ProcessExecutor) -> None:
        with pytest.raises(RemoteError) as raised:
            await executor.run(fail, JOB)

        assert 'in fail\n    raise ValueError("no luck")' in raised.value.traceback
        assert "executors/process" not in raised.value.traceback
        assert describe(raised.value) == "ValueError: no luck"


class TestEnding:
    async def test_closing_ends_busy_and_idle_children(self, executor: ProcessExecutor, desk: Desk) -> None:
        call = asyncio.ensure_future(executor.run(linger, to(desk)))
        await desk.visitor()
        await executor.run(echo, JOB)
        children = executor.children

        executor.close()
        await ended(children)

        assert len(children) == 2
        with pytest.raises(ChildEndedError):
            await call

    @pytest.mark.parametrize(
        "busy",
        [
            crashing.spin,
            pytest.param(
                crashing.hold_the_gil,
                marks=pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG"),
            ),
        ],
    )
    async def test_no_child_outlives_a_worker_that_is_killed(self, desk: Desk, busy: Callable[[Job], None]) -> None:
        argv = [sys.executable, "-m", "tests.faults.mortal_worker", busy.__name__, str(desk.port)]
        worker = await asyncio.create_subprocess_exec(*argv)
        visitors = [await desk.visitor(), await desk.visitor()]
        pids = [int(visitor.said) for visitor in visitors]

        worker.kill()
        await worker.wait()
        for visitor in visitors:
            await visitor.last_words()

        assert len({*pids, worker.pid}) == 3
        for pid in pids:
            await gone(pid)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_works_on_any_loop_and_leaves_nothing_open(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    busy: list[asyncio.Future[object]] = []

    async def work() -> tuple[object, str]:
        async with Desk() as desk:
            with opened(max_children=2) as executor:
                result = await executor.run(echo, running(payload_json=b"[1]"))
                with pytest.raises(ChildEndedError) as raised:
                    await executor.run(crashing.segfault, JOB)
                call = asyncio.ensure_future(executor.run(meet, to(desk)))
                await desk.visitor()
                call.cancel()
                await asyncio.wait([call])
                busy.append(asyncio.ensure_future(executor.run(linger, to(desk))))
                await desk.visitor()
                return result, str(raised.value)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(work()) == ([1], ENDS[0][1])
    [left] = busy  # ended by the runner or, where it heard of that first, by the end of its child
    assert left.cancelled() or isinstance(left.exception(), ChildEndedError)


def printed(caplog: pytest.LogCaptureFixture, stream: str) -> list[str]:
    lines = [vars(record) for record in caplog.records if record.message == "child_output"]
    return [line["line"] for line in lines if line["stream"] == stream]


def overheard(listen: Callable[[bytes], None], heard: asyncio.Event) -> Callable[[bytes], None]:
    def listen_and_tell(data: bytes) -> None:
        listen(data)
        heard.set()

    return listen_and_tell


async def gone(pid: int) -> None:
    """Wait until a process that is not ours has ended; a zombie that waits for its new parent has."""
    if hasattr(os, "pidfd_open"):
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        is_gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(watch, is_gone.set)
        try:
            await asyncio.wait_for(is_gone.wait(), PATIENCE_S)
        finally:
            asyncio.get_running_loop().remove_reader(watch)
            os.close(watch)
