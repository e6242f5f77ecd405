"""Tasks: functions whose calls can be enqueued, with arguments that are checked like those of a call.

Made by `@app.task(...)`. The signature is the contract: for the type checker, at the door, and for whoever posts JSON.
Invariant: a task is still its function; calling it calls the function, here and now.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, MutableMapping
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

import msgspec
from msgspec import Raw

from gotaskq.callback import Callback
from gotaskq.context import Context, current_context
from gotaskq.control import Discard
from gotaskq.custom_types import from_json
from gotaskq.engine.registry import HandlerOptions, Registry
from gotaskq.engine.requests import JobRequest, JobType
from gotaskq.engine.resources import given
from gotaskq.errors import InvalidRequestError, PayloadMismatchError, RegistrationError
from gotaskq.executor import Handler
from gotaskq.handle import JobHandle, KeepsJobs, KeepsJobsSync, SyncJobHandle
from gotaskq.job import Job
from gotaskq.keywords import refuse_unknown
from gotaskq.names import check_queue_name
from gotaskq.payload_type import PayloadType, Upcast
from gotaskq.signature import read_signature

P = ParamSpec("P")  # what a job of the task is given: the function's parameters without its context
R = TypeVar("R")  # what a job of the task returns
CallP = ParamSpec("CallP")  # what a plain call is given
CallR = TypeVar("CallR")  # what a plain call returns: for an `async def`, something to await


class SendOptions(TypedDict, total=False):
    """How one job is sent; what is left out or None is as its task says, else as by default."""

    queue: str | None  # `default`
    priority: int | None  # 0 to 10, 10 goes first; 0
    delay: float | None  # seconds until it may run; 0
    max_retries: int | None  # MAX_RETRIES
    timeout: float | None  # seconds an attempt may take
    schedule_timeout: float | None  # seconds the job may wait once it is due
    headers: Mapping[str, str] | None  # at most 16 short texts that go with the job
    unique_key: str | None  # while a job with it waits or runs, that one is returned, and nothing is stored
    idempotency_key: str | None  # of one call: made again within IDEMPOTENCY_TTL, it returns the job it made
    callback: Callback | None  # who is told of the job's end


class TaskOptions(HandlerOptions, total=False):
    """What a task says of its jobs, beside how they run here."""

    queue: str
    priority: int
    max_retries: int
    version: int
    upcast: Upcast


def checked(options: SendOptions) -> SendOptions:
    """Return the options with the queue's name as it is stored; raises InvalidRequestError for one that is none."""
    queue = options.get("queue")
    return options if queue is None else cast("SendOptions", {**options, "queue": check_queue_name(queue)})


class TakesJobs(KeepsJobs, KeepsJobsSync, Protocol):
    """What a task asks of its app."""

    def submit(self, request: JobRequest) -> Awaitable[Job]:
        """Store the job a request asks for."""
        ...

    def submit_sync(self, request: JobRequest) -> Job:
        """Store the job a request asks for, for code that cannot await."""
        ...


class Sender(Generic[P, R]):
    """Enqueues jobs of one task, with the same options for each."""

    def __init__(
        self, app: TakesJobs, payload_type: PayloadType, read_result: Callable[[bytes], R], options: SendOptions
    ) -> None:
        self._app = app
        self._payload_type = payload_type
        self._read_result = read_result
        self._options = options

    @property
    def job_type(self) -> str:
        """The type of its jobs."""
        return self._payload_type.job_type

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Store a job that calls the function with these arguments, and return its handle.

        Raises InvalidPayloadError for arguments that do not fit, and what `TaskQ.enqueue` raises.
        """
        job = await self._app.submit(self.job(*args, **kwargs))
        return JobHandle(self._app, job.id, self._read_result, was_there=job.was_there)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> SyncJobHandle[R]:
        """Do what `enqueue` does, for code that cannot await; raises as it, and ConfigError as `TaskQ.enqueue_sync`."""
        job = self._app.submit_sync(self.job(*args, **kwargs))
        return SyncJobHandle(self._app, job.id, self._read_result)

    def job(self, *args: P.args, **kwargs: P.kwargs) -> JobRequest:
        """Return the job's request, for `TaskQ.enqueue_many`."""
        payload = Raw(self._payload_type.encode(args, kwargs))
        return JobRequest(self._payload_type.job_type, payload, **self._options)

    def options(self, **options: Unpack[SendOptions]) -> "Sender[P, R]":
        """Return a sender whose jobs differ from the task's in these options."""
        merged = cast("SendOptions", {**self._options, **checked(options)})
        return Sender(self._app, self._payload_type, self._read_result, merged)


class Task(Sender[P, R], Generic[P, R, CallP, CallR]):
    """A function whose calls can be enqueued; called, it is the function."""

    def __init__(
        self,
        function: Callable[CallP, CallR],
        app: TakesJobs,
        job_type: str | None,
        options: TaskOptions,
        *,
        injectable: Collection[type] = (),
    ) -> None:
        signature = read_signature(function, injectable=injectable)
        payload_type = PayloadType(
            signature,
            job_type=job_type or function.__name__,
            version=options.get("version", 1),
            upcast=options.get("upcast"),
        )
        read_result: Callable[[bytes], R] = msgspec.json.Decoder(signature.returns, dec_hook=from_json).decode
        super().__init__(app, payload_type, read_result, {})
        self._function: Callable[..., Any] = function
        self._takes_context = signature.takes_context
        self.resources: Mapping[str, type] = signature.resources
        self.parameter_types = [parameter.type for parameter in signature.parameters]
        self.payload_type = payload_type
        self.returns: object = signature.returns
        self.at_the_door = _job_type(payload_type, options)
        functools.update_wrapper(self, function)

    def __call__(self, *args: CallP.args, **kwargs: CallP.kwargs) -> CallR:
        """Call the function, here and now."""
        return cast("CallR", self._function(*args, **kwargs))

    def __repr__(self) -> str:
        """Show the job type and the function."""
        return f"<task {self.job_type!r}: {self._function.__module__}.{self._function.__qualname__}>"

    @property
    def handler(self) -> Handler:
        """What runs its jobs."""
        return self.run_async if inspect.iscoroutinefunction(self._function) else self.run

    def run(self, job: Job) -> object:
        """Run a job of a `def`, and return what that returns; also called by name, in a child process."""
        return self._function(*self._context(), **self._arguments(job))

    async def run_async(self, job: Job) -> object:
        """Run a job of an `async def`, and return what that returns."""
        return await self._function(*self._context(), **self._arguments(job))

    def _context(self) -> tuple[Context, ...]:
        return (current_context(),) if self._takes_context else ()

    def _arguments(self, job: Job) -> dict[str, Any]:
        try:
            arguments = self._payload_type.arguments(job.payload_json)
        except PayloadMismatchError as error:
            raise Discard(str(error)) from error  # no retry makes it fit
        return arguments | given(self.resources) if self.resources else arguments


class TaskMaker:
    """What `@app.task(...)` decorates with."""

    def __init__(
        self,
        app: TakesJobs,
        registry: Registry,
        tasks: "MutableMapping[str, AnyTask]",
        job_type: str | None,
        options: TaskOptions,
        *,
        injectable: Collection[type],
    ) -> None:
        """Raise RegistrationError where the function itself was given: `@app.task` would register nothing."""
        if not isinstance(job_type, str | None):
            raise RegistrationError(f"{job_type!r} is no job type; write `@app.task()`, with its parentheses")
        refuse_unknown(options, TaskOptions)
        self._app = app
        self._registry = registry
        self._tasks = tasks
        self._job_type = job_type
        self._options = options
        self._injectable = injectable

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]]
    ) -> Task[P, R, Concatenate[Context, P], Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R, P, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R]) -> Task[P, R, Concatenate[Context, P], R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R, P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> "AnyTask":
        """Make the function a task; raises RegistrationError for one that cannot be."""
        options = self._options
        task: AnyTask = Task(function, self._app, self._job_type, options, injectable=self._injectable)
        _refuse_in_child(task, options)
        of_handler = {name: value for name, value in options.items() if name in HandlerOptions.__annotations__}
        self._registry.register(task.job_type, task.handler, **cast("HandlerOptions", of_handler))
        self._tasks[task.job_type] = task
        return task


AnyTask = Task[..., Any, ..., Any]


def _refuse_in_child(task: AnyTask, options: TaskOptions) -> None:
    if task.resources and (options.get("executor") == "process" or options.get("isolate_after_crash")):
        wanted = ", ".join(kind.__name__ for kind in task.resources.values())
        raise RegistrationError(
            f"{task!r} wants {wanted}, and cannot run in a process: resources are opened in the worker. "
            f"Open what it needs inside the function"
        )


def _job_type(payload_type: PayloadType, options: TaskOptions) -> JobType:
    try:
        queue = options.get("queue")
        return JobType(
            check=payload_type.check,
            queue=None if queue is None else check_queue_name(queue),
            priority=options.get("priority"),
            max_retries=options.get("max_retries"),
        )
    except InvalidRequestError as error:
        raise RegistrationError(f"task {payload_type.job_type!r}: {error}") from error
