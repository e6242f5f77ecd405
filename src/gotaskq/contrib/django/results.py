"""Jobs as Django's tasks see them: what is sent, and the result that is read back.

Used by the backend and by the worker. Pure.
Invariant: `attempts` of a result is the number of the job's attempts, also where a worker's name is not kept any more.
"""

import builtins
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings

import gotaskq.control
import gotaskq.errors
from gotaskq.contrib.django.framework import Task, TaskError, TaskResult, TaskResultStatus, normalize_json
from gotaskq.job import Job, Status
from gotaskq.trail import Attempt

STATUSES: Final = {
    Status.PENDING: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.DONE: TaskResultStatus.SUCCESSFUL,
    Status.DEAD: TaskResultStatus.FAILED,
    Status.CANCELLED: TaskResultStatus.FAILED,
}
CANCELLED_PATH: Final = "asyncio.exceptions.CancelledError"
FORGOTTEN: Final = ""  # the worker of an attempt of which nothing is kept any more
STEP: Final = 20  # of Django's 201 priorities to one of our 11


def priority_of(task_priority: int) -> int:
    """Return our priority, 0 to 10, for Django's, -100 to 100: 0 is 5, and the halves go up."""
    return (task_priority + 100 + STEP // 2) // STEP


def payload_of(task: Task, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return what a job of the task carries; raises TypeError or ValueError for what JSON cannot hold."""
    payload = {"args": normalize_json(args), "kwargs": normalize_json(kwargs)}
    return payload if task.priority == 0 else {**payload, "priority": task.priority}  # ours is too coarse to return it


def task_of(job: Job, task: Task, *, alias: str) -> Task:
    """Return the task as it was enqueued."""
    priority = _carried(job).get("priority", 0)
    run_after = _instant(job.created_at_ms + job.delay_ms) if job.delay_ms else None
    return task.using(priority=priority, queue_name=job.queue, run_after=run_after, backend=alias)


def result_of(job: Job, task: Task, *, alias: str) -> TaskResult:
    """Return a job as the result of its task."""
    attempts = job.trail.attempts
    started = [attempt.started_at_ms for attempt in attempts] + (
        [] if job.started_at_ms is None else [job.started_at_ms]
    )
    carried = _carried(job)
    result = TaskResult(
        task=task,
        id=str(job.id),
        status=STATUSES[job.status],
        enqueued_at=_instant(job.created_at_ms),
        started_at=_instant(started[0]) if started else None,
        finished_at=None if job.finished_at_ms is None else _instant(job.finished_at_ms),
        last_attempted_at=_instant(started[-1]) if started else None,
        args=carried.get("args", []),
        kwargs=carried.get("kwargs", {}),
        backend=alias,
        errors=_errors(job),
        worker_ids=_workers(job),
    )
    put(result, _return_value=job.result)
    return result


def put(result: TaskResult, **values: object) -> None:
    """Change a result, which is frozen for all but its backend."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def error_of(error: BaseException, traceback: str) -> TaskError:
    """Return an exception as Django keeps it."""
    kind = type(error)
    return TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=traceback)


def _carried(job: Job) -> dict[str, Any]:
    payload = job.payload  # as we sent it, or anything, where the job came by HTTP
    return payload if isinstance(payload, dict) else {}


def _workers(job: Job) -> list[str]:
    known = {attempt.number: attempt.worker for attempt in job.trail.attempts}
    if job.worker is not None:
        known.setdefault(job.attempt, job.worker)
    return [known.get(number, FORGOTTEN) for number in range(1, job.attempt + 1)]


def _errors(job: Job) -> list[TaskError]:
    errors = [
        TaskError(exception_class_path=_class_path(at), traceback=at.traceback or at.error) for at in job.trail.attempts
    ]
    if job.status is Status.CANCELLED:
        errors.append(TaskError(exception_class_path=CANCELLED_PATH, traceback="cancelled"))
    elif job.status is Status.DEAD and not errors:  # it died without an attempt, such as of waiting for too long
        errors.append(TaskError(exception_class_path=_known_path(""), traceback=job.error or ""))
    return errors


def _class_path(attempt: Attempt) -> str:
    """Return where the class of an attempt's exception is: a traceback's last lines say it in full."""
    name = attempt.error.partition(":")[0]
    for line in reversed(attempt.traceback.splitlines()):
        path = line.partition(":")[0]
        if path.endswith(f".{name}") and path.replace(".", "").isidentifier():
            return path
    return _known_path(name)


def _known_path(name: str) -> str:
    for module in (builtins, gotaskq.control, gotaskq.errors):
        if isinstance(getattr(module, name, None), type):
            return f"{module.__name__}.{name}"
    return "gotaskq.errors.GotaskqError"


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC if settings.USE_TZ else None)
