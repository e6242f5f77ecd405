"""`gotaskq.contrib.django` in a real Django, on a real server: what Django promises of a backend, and what we do."""

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import override_settings
from django.utils import timezone
from tests.redis_servers import RedisServer

from gotaskq import TaskQ

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib.polls.settings"
django.setup()

from tests.contrib.polls import tasks  # noqa: E402 - only once Django is set up

from gotaskq.contrib.django import TaskBackend  # noqa: E402
from gotaskq.contrib.django.discovery import find_task  # noqa: E402
from gotaskq.contrib.django.framework import (  # noqa: E402
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from gotaskq.contrib.django.results import priority_of  # noqa: E402

PATH = "gotaskq.contrib.django.TaskBackend"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(autouse=True)
def backend(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskBackend]:
    tasks.seen.clear()
    monkeypatch.setitem(connections.databases["default"], "NAME", str(tmp_path / "polls.sqlite3"))
    with server.client() as client:
        client.flushall()
    with configured(url=server.url, base_delay="1ms", max_retries=1) as backend:
        yield backend
    connections.close_all()


class configured:  # noqa: N801 - a context manager, used as a function
    """Put options into TASKS."""

    def __init__(self, queues: tuple[str, ...] = ("default", "mail"), **options: object) -> None:
        tasks_setting = {"default": {"BACKEND": PATH, "QUEUES": list(queues), "OPTIONS": options}}
        self._override = override_settings(TASKS=tasks_setting)

    def __enter__(self) -> TaskBackend:
        self._override.enable()
        backend: TaskBackend = task_backends["default"]
        return backend

    def __exit__(self, *_: object) -> None:
        self._override.disable()


def work(backend: TaskBackend) -> None:
    """Run what is there to run."""

    async def run(taskq: TaskQ) -> None:
        async with taskq, taskq.workers(concurrency=1, burst=True) as worker:
            await worker.ended.wait()

    asyncio.run(run(backend.make_worker()))


def work_until_finished(backend: TaskBackend, result: Any) -> Any:
    for _ in range(100):  # a burst ends once nothing is due; a retry is due a moment later
        work(backend)
        result.refresh()
        if result.is_finished:
            return result
    raise AssertionError(f"it does not end: {result}")


def test_every_ability_is_there(backend: TaskBackend) -> None:
    flags = ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority")

    assert [getattr(backend, flag) for flag in flags] == [True] * 4


def test_a_result_says_what_becomes_of_a_task(backend: TaskBackend) -> None:
    result = tasks.add.enqueue(2, right=3)
    enqueued = (result.status, result.args, result.kwargs, result.attempts, result.started_at, result.is_finished)
    work(backend)
    result.refresh()

    assert enqueued == (TaskResultStatus.READY, [2], {"right": 3}, 0, None, False)
    assert (result.status, result.return_value, result.errors) == (TaskResultStatus.SUCCESSFUL, 5, [])
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert (result.attempts, result.backend, bool(result.worker_ids[0])) == (1, "default", True)
    assert tasks.add.get_result(result.id).return_value == 5


async def test_async_code_has_the_same(backend: TaskBackend) -> None:
    result = await tasks.add_later.aenqueue(2, 3)
    await asyncio.to_thread(work, backend)
    await result.arefresh()

    assert result.return_value == 5
    assert (await tasks.add_later.aget_result(result.id)).status == TaskResultStatus.SUCCESSFUL


def test_a_task_has_its_context_and_finds_itself_as_it_was_enqueued(backend: TaskBackend) -> None:
    result = tasks.describe.using(priority=-33).enqueue("hello")
    work(backend)

    assert tasks.describe.get_result(result.id).return_value == {
        "word": "hello",
        "attempt": 1,
        "status": "RUNNING",
        "priority": -33,
        "queue": "mail",
        "job": "tests.contrib.polls.tasks.describe",
    }
    assert tasks.describe.get_result(result.id).task == tasks.describe.using(priority=-33)


def test_a_task_that_fails_is_tried_again_and_keeps_each_error(backend: TaskBackend) -> None:
    result = work_until_finished(backend, tasks.fail.enqueue("no: not this"))

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 2)
    assert [error.exception_class for error in result.errors] == [tasks.RejectedError] * 2
    assert "no: not this" in result.errors[0].traceback
    assert "raise RejectedError(message)" in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_a_task_can_succeed_after_a_failure(backend: TaskBackend) -> None:
    result = work_until_finished(backend, tasks.fail_once.enqueue())

    assert (result.return_value, result.attempts) == (2, 2)
    assert [error.exception_class for error in result.errors] == [ValueError]
    assert result.started_at < result.last_attempted_at


def test_a_task_may_say_what_is_to_become_of_it(backend: TaskBackend) -> None:
    given_up = work_until_finished(backend, tasks.give_up.enqueue())
    awake = work_until_finished(backend, tasks.snooze.enqueue())

    assert (given_up.status, given_up.attempts) == (TaskResultStatus.FAILED, 1)
    assert given_up.errors[0].exception_class_path == "gotaskq.control.Cancel"
    assert (awake.return_value, awake.attempts, tasks.seen) == ("awake", 1, [1, 1])


def test_a_return_value_that_json_cannot_hold_fails_the_task_once(backend: TaskBackend) -> None:
    result = work_until_finished(backend, tasks.answer_with_a_set.enqueue())

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)
    assert "JSON cannot hold" in result.errors[0].traceback


def test_an_argument_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        tasks.add.enqueue(object(), 1)


def test_a_task_cancelled_elsewhere_has_failed(server: RedisServer) -> None:
    result = tasks.add.enqueue(1, 2)

    async def cancel() -> None:
        async with TaskQ(server.url) as taskq:
            await taskq.cancel(int(result.id))

    asyncio.run(cancel())
    result.refresh()

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 0)
    assert result.errors[0].exception_class is asyncio.CancelledError


def test_a_deferred_task_waits(backend: TaskBackend) -> None:
    due = timezone.now() + timedelta(hours=1)
    result = tasks.add.using(run_after=due).enqueue(1, 2)
    past = tasks.add.using(run_after=timezone.now() - timedelta(hours=1)).enqueue(1, 2)
    work(backend)

    held = tasks.add.get_result(result.id)
    assert held.status == TaskResultStatus.READY
    assert abs(held.task.run_after - due) < timedelta(seconds=1)
    assert tasks.add.get_result(past.id).return_value == 3


def test_too_far_in_the_future_is_refused() -> None:
    with pytest.raises(InvalidTask, match="delay must be between"):
        tasks.add.using(run_after=timezone.now() + timedelta(days=400)).enqueue(1, 2)


def test_the_important_goes_first(backend: TaskBackend) -> None:
    for priority in (-100, 0, 100, 55):
        tasks.note_order.using(priority=priority).enqueue(str(priority))
    work(backend)

    assert tasks.seen == ["100", "55", "0", "-100"]


def test_priorities_are_spread_over_ours() -> None:
    spread = [priority_of(priority) for priority in range(-100, 101)]

    assert (spread[0], spread[100], spread[200]) == (0, 5, 10)
    assert spread == sorted(spread)
    assert set(spread) == set(range(11))


def test_queues_are_those_of_the_settings(backend: TaskBackend) -> None:
    with pytest.raises(InvalidTask, match="not valid for backend"):
        tasks.add.using(queue_name="other")

    with configured(queues=(), **backend.options) as open_to_all:  # Django: any queue will do
        result = tasks.add.using(queue_name="other").enqueue(1, 2)
        work(open_to_all)
        result.refresh()

    assert result.return_value == 3


def test_a_task_a_worker_could_not_find_is_refused() -> None:
    def local() -> None: ...

    def hidden() -> None: ...

    hidden.__module__, hidden.__qualname__ = "_private.tasks", "hidden"
    with pytest.raises(InvalidTask, match="module level"):
        task_of(local)
    with pytest.raises(InvalidTask, match="must be 1 to 128"):
        task_of(hidden)
    hidden.__module__, hidden.__qualname__ = "polls.tasks", "Inside.hidden"
    with pytest.raises(InvalidTask, match="top of a module"):
        task_of(hidden)


def task_of(function: Any) -> Any:
    return Task(priority=0, func=function, backend="default", queue_name="default", run_after=None)


def test_a_result_that_is_not_there_is_said_not_to_exist(backend: TaskBackend) -> None:
    for result_id in ("1", "nonsense", "-5", str(1 << 70)):
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(result_id)


@pytest.mark.parametrize(
    "path", ["tests.contrib.polls.tasks.no_task", "os.abort", "this.s", "tests.contrib.polls.nothing"]
)
def test_only_tasks_can_be_run_whoever_writes_the_job(backend: TaskBackend, path: str) -> None:
    job = backend.taskq.enqueue_sync(path, {"args": [], "kwargs": {}})
    work(backend)

    assert backend.taskq.get_sync(job.id).attempt == 0
    assert find_task(path) is None
    with pytest.raises(TaskResultDoesNotExist, match="no task of this project"):
        backend.get_result(str(job.id))


def test_a_task_can_be_posted_by_another_program(backend: TaskBackend) -> None:
    job = backend.taskq.enqueue_sync(tasks.add.module_path, {"kwargs": {"left": 1, "right": 2}})
    wrong = backend.taskq.enqueue_sync(tasks.add.module_path, "what is this?", max_retries=0)
    work(backend)

    assert tasks.add.get_result(str(job.id)).return_value == 3
    assert tasks.add.get_result(str(wrong.id)).errors[0].exception_class is TypeError


def test_signals_are_sent_and_their_receivers_harm_nothing(backend: TaskBackend) -> None:
    heard: list[tuple[str, str, str]] = []

    def hear(signal: str) -> Any:
        def receive(sender: type, task_result: Any, **_: object) -> None:
            heard.append((signal, task_result.status, task_result.task.name))
            raise ValueError("a receiver that fails")

        return receive

    receivers = [(task_enqueued, hear("enqueued")), (task_started, hear("started")), (task_finished, hear("finished"))]
    for signal, receiver in receivers:
        signal.connect(receiver, sender=TaskBackend)
    try:
        result = work_until_finished(backend, tasks.fail_once.enqueue())
        failed = work_until_finished(backend, tasks.give_up.enqueue())
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver, sender=TaskBackend)

    assert (result.status, failed.status) == ("SUCCESSFUL", "FAILED")
    assert [(signal, status) for signal, status, name in heard if name == "fail_once"] == [
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("started", "RUNNING"),
        ("finished", "SUCCESSFUL"),
    ]
    assert [(signal, status) for signal, status, name in heard if name == "give_up"] == [
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "FAILED"),
    ]


def test_connections_to_the_database_are_closed_after_each_task(backend: TaskBackend) -> None:
    first, second = tasks.look_at_the_database.enqueue(), tasks.look_at_the_database.enqueue()
    work(backend)

    threads = {tasks.look_at_the_database.get_result(result.id).return_value for result in (first, second)}
    assert threads == {"gotaskq-handler"}
    assert len(tasks.seen) == 2
    assert tasks.seen[0] is not tasks.seen[1]


def test_enqueueing_can_wait_for_the_commit(backend: TaskBackend) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: tasks.note_order.enqueue("after"))
        work(backend)
        assert tasks.seen == []
    work(backend)

    assert tasks.seen == ["after"]


# -- settings and the command ------------------------------------------------------------------------------------------


def test_the_settings_are_checked(backend: TaskBackend) -> None:
    assert checks.run_checks() == []

    with configured(queues=("default", "Mail", "what?"), url="memory://"):
        found = checks.run_checks()

    assert [message.id for message in found] == ["gotaskq.E001", "gotaskq.E002", "gotaskq.E002"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"uri": "redis://localhost"}, "no option 'uri'"),
        ({"max_retries": 101}, "a whole number from 0 to 100"),
        ({"url": "localhost"}, "a URL with its scheme"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words), configured(**options):
        pytest.fail("they were used")


def test_threads_share_one_way_to_the_store(backend: TaskBackend) -> None:
    async def elsewhere() -> TaskBackend:
        return await asyncio.to_thread(lambda: task_backends["default"])

    other = asyncio.run(elsewhere())

    assert other is not backend
    assert other.taskq is backend.taskq


def test_a_worker_refuses_memory_and_other_backends() -> None:
    with configured(url="memory://"), pytest.raises(CommandError, match="no other process sees jobs in memory"):
        call_command("gotaskq_worker", skip_checks=True, stdout=StringIO())
    dummy = find_dummy()
    with override_settings(TASKS={"default": {"BACKEND": dummy}}), pytest.raises(CommandError, match="is no gotaskq"):
        call_command("gotaskq_worker", stdout=StringIO())


def find_dummy() -> str:
    package = "django.tasks" if django.VERSION >= (6,) else "django_tasks"
    return f"{package}.backends.dummy.DummyBackend"


def test_the_dummy_backend_of_django_keeps_working() -> None:
    with override_settings(TASKS={"default": {"BACKEND": find_dummy()}}):
        tasks.add.enqueue(1, 2)

        assert [result.args for result in task_backends["default"].results] == [[1, 2]]
