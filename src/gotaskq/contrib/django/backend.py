"""The backend for Django's `TASKS`: enqueues tasks as jobs, and reads their results back.

Django makes one for each thread; those with the same options share one TaskQ, and so its connections.
Invariant: a job's type is its task's module path, so metrics, logs and dead letters speak of tasks by name.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final, NoReturn

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from gotaskq.app import TaskQ
from gotaskq.clock import SystemClock
from gotaskq.config import VARIABLES, Settings, load_settings
from gotaskq.contrib.django.discovery import defined_tasks, find_task, load_tasks
from gotaskq.contrib.django.framework import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    task_enqueued,
)
from gotaskq.contrib.django.results import payload_of, priority_of, result_of, task_of
from gotaskq.contrib.django.running import handler_of
from gotaskq.engine.registry import JOB_TYPE, JOB_TYPE_RULE
from gotaskq.errors import ConfigError, InvalidRequestError, JobNotFoundError, QueueExistsError, QueueNotFoundError
from gotaskq.job import Job
from gotaskq.names import check_queue_name

FIELDS: Final = {"url": "backend_url", **{variable.name.lower(): variable.field for variable in VARIABLES}}


class TaskBackend(BaseTaskBackend):
    """Tasks as jobs of a GoTaskQ; OPTIONS are `url` and any of its settings, in lower case."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings = self._load()
        self.taskq = _shared(self.settings)

    def _load(self, **more: str | None) -> Settings:
        given = {**self.options, **{name: value for name, value in more.items() if value is not None}}
        if unknown := sorted(given.keys() - FIELDS.keys()):
            self._refuse(f"no option {unknown[0]!r}; there are {', '.join(sorted(FIELDS))}")
        try:
            return load_settings({}, overrides={FIELDS[name]: value for name, value in given.items()}).settings
        except ConfigError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> NoReturn:
        raise ImproperlyConfigured(f"TASKS[{self.alias!r}]['OPTIONS']: {reason}") from None

    # -- tasks and results ---------------------------------------------------------------------------------------------

    def validate_task(self, task: Task) -> None:
        """Raise InvalidTask for a task that cannot be sent, or not be found by a worker."""
        super().validate_task(task)
        if "." in task.func.__qualname__:
            raise InvalidTask("Task function must be defined at the top of a module, where a worker can find it.")
        if JOB_TYPE.fullmatch(task.module_path) is None:
            raise InvalidTask(f"Task path {task.module_path!r} must be {JOB_TYPE_RULE}, to name the type of its jobs.")

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Store a job of the task, and return its result as it is now; raises GotaskqError where that is not done."""
        self.validate_task(task)
        result = result_of(self._store(task, payload_of(task, args, kwargs)), task, alias=self.alias)
        task_enqueued.send_robust(type(self), task_result=result)
        return result

    def _store(self, task: Task, payload: dict[str, Any]) -> Job:
        due_in_ms = 0.0 if task.run_after is None else task.run_after.timestamp() * 1000 - SystemClock.now_ms()
        queue, delay_s = task.queue_name, max(0.0, due_in_ms) / 1000
        try:
            for is_known in (False, True):
                try:
                    return self.taskq.enqueue_sync(
                        task.module_path, payload, queue=queue, priority=priority_of(task.priority), delay=delay_s
                    )
                except QueueNotFoundError:
                    if is_known:
                        raise
                    self._create(queue)
        except InvalidRequestError as error:
            raise InvalidTask(f"Task {task.module_path} cannot be enqueued: {error}") from error
        raise AssertionError("unreachable")

    def _create(self, queue: str) -> None:
        try:
            self.taskq.create_queue_sync(queue)
        except QueueExistsError:  # another process was first
            return

    def get_result(self, result_id: str) -> TaskResult:
        """Return a result; raises TaskResultDoesNotExist, also for a job that is none of this project's tasks."""
        try:
            job = self.taskq.get_sync(int(result_id))
        except (ValueError, JobNotFoundError):
            raise TaskResultDoesNotExist(result_id) from None
        task = find_task(job.type)
        if task is None:
            load_tasks()
            task = find_task(job.type)
        if task is None:
            raise TaskResultDoesNotExist(f"job {result_id} is of type {job.type!r}, which is no task of this project")
        return result_of(job, task_of(job, task, alias=self.alias), alias=self.alias)

    # -- workers -------------------------------------------------------------------------------------------------------

    def make_worker(self, **options: str | None) -> TaskQ:
        """Return a TaskQ with a handler for every task of the project; options as in OPTIONS. Not open yet."""
        load_tasks()
        queues = ",".join(sorted(self.queues)) or None
        taskq = TaskQ(settings=self._load(**{"queues": queues, **options}))
        for path, task in sorted(defined_tasks().items()):
            taskq.handler(path)(handler_of(task, alias=self.alias, sender=type(self)))
        return taskq

    def check(self, **_: Any) -> Iterable[checks.CheckMessage]:
        """Return what is wrong with the settings, for `manage.py check`."""
        name = f"TASKS[{self.alias!r}]"
        if not self.taskq.is_shared:
            yield checks.Error(
                f"{name} keeps its jobs in memory, where no worker sees them.",
                hint="Name a store that processes share, such as OPTIONS={'url': 'redis://localhost:6379/0'}; for "
                "development and tests, Django has backends that run tasks at once, or not at all.",
                id="gotaskq.E001",
            )
        for queue in sorted(self.queues):
            try:
                is_plain = check_queue_name(queue) == queue
            except InvalidRequestError:
                is_plain = False
            if not is_plain:
                yield checks.Error(
                    f"{name} has a queue named {queue!r}, which GoTaskQ cannot have.",
                    hint="Use lower-case letters, digits, - and _.",
                    id="gotaskq.E002",
                )


@cache
def _shared(settings: Settings) -> TaskQ:
    return TaskQ(settings=settings)
