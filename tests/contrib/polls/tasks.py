"""The tasks of the tests."""

import threading

from django.db import connection

from gotaskq import Cancel, Snooze, current_context
from gotaskq.contrib.django.framework import TaskContext

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

seen: list[object] = []


class RejectedError(Exception):
    """An exception of the project's own."""


@task
def add(left: int, right: int) -> int:
    return left + right


@task(queue_name="mail", priority=10, takes_context=True)
def describe(context: TaskContext, word: str) -> dict[str, object]:
    result = context.task_result
    return {
        "word": word,
        "attempt": context.attempt,
        "status": result.status,
        "priority": result.task.priority,
        "queue": result.task.queue_name,
        "job": current_context().job.type,
    }


@task
async def add_later(left: int, right: int) -> int:
    return left + right


@task
def fail(message: str) -> None:
    raise RejectedError(message)


@task(takes_context=True)
def fail_once(context: TaskContext) -> int:
    if context.attempt == 1:
        raise ValueError("the first time")
    return int(context.attempt)


@task
def give_up() -> None:
    raise Cancel("of no use")


@task(takes_context=True)
def snooze(context: TaskContext) -> str:
    seen.append(context.attempt)
    if len(seen) == 1:
        raise Snooze(0.01)
    return "awake"


@task
def answer_with_a_set() -> object:
    return {1, 2}


@task
def look_at_the_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    seen.append(connection.connection)
    return threading.current_thread().name


@task
def note_order(word: str) -> None:
    seen.append(word)


def no_task() -> None:
    raise AssertionError("nothing but a task may be run")
