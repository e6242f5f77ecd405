"""The registry: which handler runs which job type, and how.

Filled while the app is defined, read by worker and metrics. Jobs never name code: only what is registered here can run.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypedDict, Unpack

from gotaskq.context import current_context
from gotaskq.engine.middleware import CallNext, Middleware, compose
from gotaskq.engine.resources import injected, wants_resources
from gotaskq.errors import InvalidRequestError, RegistrationError
from gotaskq.executor import Executor, ExecutorName, Handler, importable_name, is_async, takes_context
from gotaskq.job import Job
from gotaskq.keywords import refuse_unknown
from gotaskq.policies.retry import RetryPolicy

JOB_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
OWN_TYPES: Final = "gotaskq."  # job types that begin so are ours
MAX_TIMEOUT_S: Final = 31_536_000  # a year
JOB_TYPE_RULE: Final = "1 to 128 of A-Z a-z 0-9 . _ : / - and begin with a letter or digit"


def checked_type(job_type: str | None) -> str:
    """Return a job type that a request may name; raises InvalidRequestError."""
    if not job_type:
        raise InvalidRequestError("type is required", field="type")
    if JOB_TYPE.fullmatch(job_type) is None:
        raise InvalidRequestError(f"type must be {JOB_TYPE_RULE}", field="type")
    if job_type.startswith(OWN_TYPES):
        raise InvalidRequestError(f"type must not begin with {OWN_TYPES}, which is reserved", field="type")
    return job_type


class HandlerOptions(TypedDict, total=False):
    """How the jobs of one type run here."""

    retry: RetryPolicy | None  # None: the worker's default
    executor: ExecutorName | Executor | None  # None: `async def` on the event loop, `def` in a thread
    timeout: float | None  # seconds an attempt may take; None: as long as it takes
    exclusive: bool  # an attempt is stopped when its lease cannot be kept in time
    isolate_after_crash: bool  # a job whose worker was lost runs in a child of its own from then on


@dataclass(frozen=True, slots=True)
class Registration:
    """One job type's handler; `call` runs it with its middleware around it."""

    type: str
    handler: Handler
    retry: RetryPolicy | None  # None: the worker's default
    call: CallNext
    timeout_s: float | None = None  # None: as long as it takes
    is_exclusive: bool = False  # its attempts end when their lease could not be kept


class Registry:
    """Job type → registration."""

    def __init__(
        self, *, on_loop: Executor, in_thread: Executor, in_child: Executor, middleware: Sequence[Middleware] = ()
    ) -> None:
        self._on_loop = on_loop
        self._in_thread = in_thread
        self._in_child = in_child
        self._middleware = tuple(middleware)
        self._registrations: dict[str, Registration] = {}
        self._own_executors: list[Executor] = []  # those that handlers brought along
        self.exclusive_types: set[str] = set()
        self.types_elsewhere: set[str] = set()  # that workers of other programs said they run

    def register(self, job_type: str, handler: Handler, **options: Unpack[HandlerOptions]) -> Registration:
        """Let `handler` run jobs of this type: `async def` on the event loop, `def` in a thread, or as it is asked.

        Raises RegistrationError when the type is taken or not a valid name, or the handler cannot run where asked.
        """
        refuse_unknown(options, HandlerOptions)
        if JOB_TYPE.fullmatch(job_type) is None:
            raise RegistrationError(f"job type {job_type!r} must be {JOB_TYPE_RULE}")
        if job_type.startswith(OWN_TYPES):
            raise RegistrationError(f"job type {job_type!r} is reserved, as all that begin with {OWN_TYPES!r} are")
        if not callable(handler):
            raise RegistrationError(f"the handler for job type {job_type!r} is {handler!r}, which cannot be called")
        if job_type in self._registrations:
            taken = self._registrations[job_type].handler
            raise RegistrationError(f"job type {job_type!r} has a handler already: {taken!r}; choose another type")
        timeout_s = options.get("timeout")
        if timeout_s is not None and not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise RegistrationError(
                f"the timeout for job type {job_type!r} is {timeout_s!r}; it must be more than 0 and at most "
                f"{MAX_TIMEOUT_S} seconds, or None for none"
            )
        call = self._choose(handler, options.get("executor"))
        if options.get("isolate_after_crash"):
            call = _isolating(self._choose(handler, "process"), call)
        if self._middleware:
            # In a context of its own, like the handler: what it sets must not reach the slot's next job.
            call = partial(self._on_loop.run, compose(self._middleware, call))
        is_exclusive = options.get("exclusive", False)
        registration = Registration(job_type, handler, options.get("retry"), call, timeout_s, is_exclusive)
        if is_exclusive:
            self.exclusive_types.add(job_type)
        self._registrations[job_type] = registration
        return registration

    def register_own(self, job_type: str, handler: Handler, *, retry: RetryPolicy) -> None:
        """Let a handler of ours run jobs of this type, without the middleware of users and unseen by them."""
        call = self._choose(handler, None)
        self._registrations[job_type] = Registration(job_type, handler, retry, call)

    def _choose(self, handler: Handler, executor: ExecutorName | Executor | None) -> CallNext:
        match executor:
            case "process":
                if wants_resources(handler):
                    raise RegistrationError(f"{handler!r} cannot run in a process: resources are opened in the worker")
                importable_name(handler)  # refuses now what no child could find later
                return partial(self._in_child.run, handler)  # a child gives its handlers a context of its own
            case None:
                here = self._on_loop if is_async(handler) else self._in_thread
            case str():
                raise RegistrationError(f"executor={executor!r} is none of ours; pass 'process', or an Executor")
            case here:
                if here not in self._own_executors:
                    self._own_executors.append(here)
        alone = injected(handler)
        return partial(here.run, _with_context(alone) if takes_context(handler) else alone)

    @property
    def abandoned(self) -> int:
        """How many handlers still run in our executors that nobody waits for any more."""
        return sum(executor.abandoned for executor in self._executors)

    def open_executors(self) -> None:
        """Get the executors of all handlers ready to run."""
        for executor in self._executors:
            executor.open()

    def close_executors(self) -> None:
        """Let go of what they took."""
        for executor in self._executors:
            executor.close()

    @property
    def _executors(self) -> list[Executor]:
        return [self._on_loop, self._in_thread, self._in_child, *self._own_executors]

    @property
    def handlers(self) -> list[Handler]:
        """The handlers of all types."""
        return [registration.handler for registration in self._registrations.values()]

    @property
    def by_type(self) -> Mapping[str, Registration]:
        """The registrations by job type."""
        return self._registrations

    def find(self, job_type: str) -> Registration | None:
        """Return the registration for a job type, or None."""
        return self._registrations.get(job_type)

    def is_run(self, job_type: str) -> bool:
        """Say whether jobs of a type are run: here, or by a program elsewhere that named it."""
        return job_type in self._registrations or job_type in self.types_elsewhere

    def types(self) -> list[str]:
        """Return the job types that users registered, sorted."""
        return sorted(job_type for job_type in self._registrations if not job_type.startswith(OWN_TYPES))


def _with_context(handler: Callable[..., Any]) -> Callable[[Job], Any]:
    def call(_: Job) -> Any:
        return handler(current_context())

    return call


def _isolating(in_child: CallNext, here: CallNext) -> CallNext:
    """Run a job that has cost a worker in a child, alone: there it can harm no other."""

    def call(job: Job) -> Awaitable[object]:
        return (in_child if job.crashes else here)(job)

    return call
