"""Pushing: job types of an app that are run by a POST to a URL; `TaskQ.push`.

Held by TaskQ. What it needs of `gotaskq.delivery` is imported when there is a push, so that an app without one does not
pay for it.
"""

from collections.abc import Callable, Coroutine, Mapping, MutableMapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from gotaskq.clock import Clock
from gotaskq.engine.registry import Registry
from gotaskq.engine.requests import JobType
from gotaskq.errors import ConfigError, InvalidRequestError, RegistrationError, StartError
from gotaskq.life import Life
from gotaskq.policies.retry import RetryPolicy
from gotaskq.task import AnyTask, TakesJobs, Task, TaskOptions

if TYPE_CHECKING:
    from gotaskq.delivery.deliveries import Deliveries
    from gotaskq.delivery.push import Push

P = ParamSpec("P")
R = TypeVar("R")


class Pushing:
    """Binds job types to URLs; call it as `app.push(...)`."""

    def __init__(
        self,
        app: TakesJobs,
        registry: Registry,
        tasks: MutableMapping[str, AnyTask],
        life: Life,
        *,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._app = app
        self._registry = registry
        self._tasks = tasks
        self._life = life
        self._clock = clock
        self._rng = rng
        self._deliveries: Deliveries | None = None
        self._pushes: dict[str, Push] = {}
        self._has_read_file = False
        life.before_open.append(self._read_file)
        life.before_work.append(self._refuse_without_client)
        life.before_end.append(self._close)

    def __call__(
        self,
        job_type: str,
        url: str,
        *,
        secrets: Sequence[str],
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> "PushMaker":
        """Run jobs of this type by a POST to `url`, signed with each of the secrets (`whsec_…`).

        `timeout_s` (30) bounds one POST. What is returned may decorate a function, which is never called: its signature
        then says what the payloads are, as that of a task does. Raises RegistrationError.
        """
        from gotaskq.delivery.errors import DestinationError
        from gotaskq.delivery.push import Push

        try:
            push = Push(
                job_type,
                url,
                secrets=secrets,
                headers=headers,
                timeout_s=timeout_s,
                deliveries=lambda: self.deliveries,
            )
        except (ValueError, DestinationError) as error:
            raise RegistrationError(f"job type {job_type!r} cannot be pushed: {error}") from None
        self._registry.register(job_type, push.run, retry=retry)
        self._pushes[job_type] = push
        return PushMaker(self._app, self._tasks, job_type)

    @property
    def deliveries(self) -> "Deliveries":
        """What sends, made when it is first asked for."""
        if self._deliveries is None:
            from gotaskq.delivery.deliveries import Deliveries

            self._deliveries = Deliveries(self._clock, self._rng, allow=self._allow)
        return self._deliveries

    @property
    def bound(self) -> list["Push"]:
        """What is bound so far, by job type."""
        return [self._pushes[job_type] for job_type in sorted(self._pushes)]

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        """How many deliveries ended how: (job type, outcome, number), sorted."""
        if self._deliveries is None:
            return []
        return sorted((job_type, outcome, number) for (job_type, outcome), number in self._deliveries.counts.items())

    def _allow(self) -> tuple[str, ...]:
        return self._life.settings.delivery_allow or ()

    def _read_file(self) -> None:
        """Bind what the PUSH_FILE names, at the first opening; raises ConfigError."""
        path = self._life.settings.push_file
        if path is None or self._has_read_file:
            return
        from gotaskq.push_file import read_push_file

        for entry in read_push_file(Path(path)):
            try:
                self(entry.type, entry.url, secrets=entry.secrets, headers=entry.headers, timeout_s=entry.timeout_s)
                self._life.more_types[entry.type] = JobType(
                    check=_take_any, queue=entry.queue, max_retries=entry.max_retries
                )
            except (RegistrationError, InvalidRequestError) as error:
                raise ConfigError("PUSH_FILE", path, f'types."{entry.type}": {error}') from None
        self._has_read_file = True

    def _refuse_without_client(self) -> None:
        from gotaskq.delivery.errors import MissingClientError

        if self._pushes:
            try:
                self.deliveries.open()
            except MissingClientError as error:
                raise StartError("deliveries", error) from error

    async def _close(self) -> None:
        if self._deliveries is not None:
            await self._deliveries.close()


class PushMaker:
    """What `app.push(...)` returns: it may decorate the function that says what the payloads are."""

    def __init__(self, app: TakesJobs, tasks: MutableMapping[str, AnyTask], job_type: str) -> None:
        self._app = app
        self._tasks = tasks
        self._job_type = job_type

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R, P, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R, P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> AnyTask:
        """Let payloads of the job type be the arguments of this function; raises RegistrationError."""
        task: AnyTask = Task(function, self._app, self._job_type, cast("TaskOptions", {}))
        self._tasks[self._job_type] = task
        return task


def _take_any(_: bytes) -> None:
    """Take any payload: only the receiver knows what it wants."""
