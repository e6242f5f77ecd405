"""Runs one attempt of a task in a worker's thread, as Django's own backends do: signals, context, connections.

Invariant: receivers of signals harm no job, and a connection to the database is used no longer than its settings allow.
"""

from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, reset_queries
from django.utils import timezone

from gotaskq.context import Context
from gotaskq.contrib.django.framework import (
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from gotaskq.contrib.django.results import error_of, put, result_of, task_of
from gotaskq.control import Cancel, Control, Discard, Retry
from gotaskq.failure import traceback_of
from gotaskq.job import Job


def handler_of(task: Task, *, alias: str, sender: type) -> Callable[[Context], Any]:
    """Return the handler for a task's jobs; a coroutine function runs on a loop of its own, in the thread."""

    def run(context: Context) -> Any:
        job = context.job
        result = result_of(job, task_of(job, task, alias=alias), alias=alias)
        reset_queries()  # DEBUG keeps every query there was, and this process serves no requests that would end that
        close_old_connections()
        try:
            task_started.send_robust(sender=sender, task_result=result)
            return _run(result, job, sender)
        finally:
            close_old_connections()

    return run


def _run(result: TaskResult, job: Job, sender: type) -> Any:
    try:
        value = _as_json(_call(result))
    except BaseException as error:
        if _is_the_end(job, error):
            result.errors.append(error_of(error, traceback_of(error)))
            put(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
            task_finished.send_robust(sender=sender, task_result=result)
        raise
    put(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=value)
    task_finished.send_robust(sender=sender, task_result=result)
    return value


def _call(result: TaskResult) -> Any:
    task = result.task
    context = (TaskContext(task_result=result),) if task.takes_context else ()
    return task.call(*context, *result.args, **result.kwargs)


def _as_json(value: object) -> Any:
    try:
        return normalize_json(value)
    except (TypeError, ValueError) as error:
        # The work is done; doing it again would not help.
        raise Discard(f"the task returned what JSON cannot hold: {error}") from error


def _is_the_end(job: Job, error: BaseException) -> bool:
    """Say whether no other attempt follows this failure."""
    if isinstance(error, Control) and not isinstance(error, Retry):
        return isinstance(error, Cancel | Discard)
    return job.retry_count >= job.max_retries
