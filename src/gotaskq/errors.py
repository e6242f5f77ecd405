"""Every exception GoTaskQ raises, in one tree.

GotaskqError
├── ConfigError             a setting that cannot be used
├── InvalidRequestError     a request names a value outside its limits; `field` says which
│   ├── InvalidPayloadError  the payload does not fit its task
│   ├── UnknownJobTypeError  nobody here knows the type, and STRICT_TYPES asks for known ones
│   └── KeyReusedError      the idempotency key came before, with another request
├── NotFoundError
│   ├── JobNotFoundError
│   ├── JobGoneError        the job an idempotency key stands for is no longer kept
│   ├── DeadJobNotFoundError
│   ├── LeaseNotFoundError
│   ├── QueueNotFoundError
│   └── OperationNotFoundError
├── JobEndedError           the job has ended, and cannot be cancelled any more
├── JobExistsError          another job with the same unique key waits or runs
├── JobStateError           the job's status forbids what was asked
├── StaleLeaseError         the lease ran out, was taken or settled: what its attempt brought is discarded
├── QueueExistsError        the name is taken
├── OperationEndedError     (in `bulk`) the operation runs no more, and cannot be cancelled
├── TooManyOperationsError  as many acts on many jobs run as may; try again later
├── QueueInUseError         the queue cannot be deleted
├── QueueDrainingError      the queue takes no new jobs until it is resumed
├── QueueBusyError          the queue takes no job now; `retry_after_s` says when to try again
│   ├── QueueFullError      as many jobs wait as may
│   ├── QueueLateError      the oldest ready job is older than it may be
│   └── QueueRateError      more jobs came in the last second than may
├── UnavailableError
│   ├── ShuttingDownError   this process takes no more jobs
│   ├── StoreFullError      the store has no room; nothing was stored
│   └── BackendUnavailableError
├── RegistrationError       a handler cannot be registered as asked
├── StartError              a resource or a lifespan could not be opened
├── JobTimeoutError         an attempt ran for longer than it may
├── NoAttemptError          `current_context()` outside of an attempt
├── RemoteError             a handler raised in a child process
├── ChildEndedError         a child process ended in the middle of a job
├── PayloadDecodeError      JSON that Python cannot hold
├── PayloadMismatchError    a stored payload does not fit the task that shall run it
├── PayloadVersionError     a stored payload is of a later version than the code here
├── JobFailedError          the job whose result is waited for is DEAD
├── JobCancelledError       the job whose result is waited for is CANCELLED
├── ResultUnavailableError  the job is DONE, but what was kept is not what its task returns
├── NotOpenError            used outside `async with app`
├── EndlessJobsError        a test's jobs bring new ones without end
├── DeliveryError           and DestinationError, SignatureError …: in `gotaskq.delivery.errors`
└── IllegalTransitionError  a job may not go from this status to that one
"""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gotaskq.job import JobId, Status

MAX_MESSAGE: Final = 1_024  # of one that lists what there is


class GotaskqError(Exception):
    """The root of every exception GoTaskQ raises."""


class ConfigError(GotaskqError):
    """A setting cannot be used; the message names it, its value and what is allowed."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={value!r}: {allowed}")
        self.variable = variable
        self.value = value
        self.allowed = allowed


class InvalidRequestError(GotaskqError):
    """A request holds a value outside its limits; `field` names it, or is None when the whole is to blame."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidPayloadError(InvalidRequestError):
    """A payload does not fit its task; `field` is the path to what is wrong, such as `$.payload.to`."""


class UnknownJobTypeError(InvalidRequestError):
    """Nobody here knows the job type, and STRICT_TYPES takes only jobs of types that are known."""

    def __init__(self, job_type: str, known: "Iterable[str]") -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"unknown type {job_type!r}; known here: {names}"[:MAX_MESSAGE], field="type")


class KeyReusedError(InvalidRequestError):
    """The idempotency key came before, with another request: whoever sent it means two things by one key."""

    def __init__(self, *, field: str = "idempotency_key") -> None:
        super().__init__(f"{field} came before with another request; a new request needs a new key", field=field)


class NotFoundError(GotaskqError):
    """What the caller named is not there."""


class JobNotFoundError(NotFoundError):
    """No job has this id (any more)."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"no job with id {job_id}; it never existed or its retention time is over")


class JobGoneError(NotFoundError):
    """The request came before: its job was stored, and is no longer kept. Nothing was stored again."""

    def __init__(self, job_id: "JobId") -> None:
        super().__init__(f"this request was accepted before, as job {job_id}, which is no longer kept")
        self.job_id = job_id


class DeadJobNotFoundError(NotFoundError):
    """No dead job has this id."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"no dead job with id {job_id}; only a job that is DEAD can be replayed or deleted here")


class QueueNotFoundError(NotFoundError):
    """No queue has this name."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue not found: {queue}")
        self.queue = queue


class OperationNotFoundError(NotFoundError):
    """No operation has this id."""

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"no operation with id {operation_id}; it never began, or ended long ago")


class LeaseNotFoundError(NotFoundError):
    """No job is, or was, leased under this id."""

    def __init__(self, lease: object) -> None:
        super().__init__(f"no lease with id {lease}; its job never existed or was deleted")


class StaleLeaseError(GotaskqError):
    """The lease is not the caller's any more; what the attempt brought is discarded."""

    def __init__(self, job_id: "JobId", status: "Status") -> None:
        super().__init__(
            f"this lease of job {job_id} is over: it ran out or was settled in another way, and the job is "
            f"{status.value}; drop this attempt and lease the next job"
        )
        self.status = status


class JobEndedError(GotaskqError):
    """The job has ended in another way than was asked for."""

    def __init__(self, job_id: "JobId", status: "Status") -> None:
        super().__init__(f"job {job_id} is {status.value}; only a job that waits or runs can be cancelled")
        self.status = status


class JobExistsError(GotaskqError):
    """Another job with the same unique key waits or runs, so this one cannot."""

    def __init__(self, job_id: "JobId", unique_key: str) -> None:
        super().__init__(f"job {job_id} cannot be replayed: another with unique_key {unique_key!r} waits or runs")
        self.unique_key = unique_key


class JobStateError(GotaskqError):
    """The job's status forbids what was asked; nothing was changed."""

    def __init__(self, job_id: "JobId", status: "Status", allowed: str) -> None:
        super().__init__(f"job {job_id} is {status.value}; {allowed}")
        self.status = status


class QueueExistsError(GotaskqError):
    """The queue's name is taken."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue already exists: {queue}")
        self.queue = queue


class TooManyOperationsError(GotaskqError):
    """As many acts on many jobs run in this process as may; nothing was begun."""

    def __init__(self, most: int, *, retry_after_s: int = 5) -> None:
        super().__init__(f"{most} operations run already; try again later")
        self.retry_after_s = retry_after_s


class QueueInUseError(GotaskqError):
    """The queue cannot be deleted, for what it holds or what it is."""

    def __init__(self, queue: str, reason: str) -> None:
        super().__init__(f"queue {queue} cannot be deleted: {reason}")
        self.queue = queue


class QueueDrainingError(GotaskqError):
    """An operator drains the queue: what is there is finished, and nothing was enqueued."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue {queue} is draining and takes no new jobs until it is resumed")
        self.queue = queue


class QueueBusyError(GotaskqError):
    """The queue takes no job now; nothing was enqueued. `retry_after_s` says when there should be room."""

    def __init__(self, queue: str, reason: str, *, retry_after_s: int) -> None:
        super().__init__(f"queue {queue} {reason}; try again later")
        self.queue = queue
        self.retry_after_s = retry_after_s


class QueueFullError(QueueBusyError):
    """The queue holds as many waiting jobs as it may."""

    def __init__(self, queue: str, *, max_depth: int, retry_after_s: int = 1) -> None:
        super().__init__(queue, f"is full: {max_depth} jobs are waiting", retry_after_s=retry_after_s)


class QueueLateError(QueueBusyError):
    """The oldest ready job of the queue has waited for longer than it may."""

    def __init__(self, queue: str, *, age_ms: int, max_age_ms: int, retry_after_s: int) -> None:
        late, allowed = f"{age_ms / 1000:g} s", f"{max_age_ms / 1000:g} s"
        reason = f"is late: its oldest ready job has waited for {late}, and {allowed} are allowed"
        super().__init__(queue, reason, retry_after_s=retry_after_s)


class Quota(NamedTuple):
    """What a rate limit allows: so many in a second, so many of them now, and more in `reset_s`."""

    limit: int
    left: int
    reset_s: int


class QueueRateError(QueueBusyError):
    """More jobs came for the queue than its rate limit allows."""

    def __init__(self, queue: str, quota: Quota) -> None:
        super().__init__(queue, f"takes {quota.limit} jobs a second, and no more now", retry_after_s=quota.reset_s)
        self.quota = quota


class WithheldError(GotaskqError):
    """Another job of the same all-or-nothing call was refused, so this one was not stored either."""

    def __init__(self) -> None:
        super().__init__("not stored: another job of this atomic request was refused")


class UnavailableError(GotaskqError):
    """The call cannot be served now and may be repeated; nothing was changed, but for what a subclass says."""

    retry_after_s = 5


class ShuttingDownError(UnavailableError):
    """This process is draining and takes no more jobs."""

    def __init__(self, what: str = "send the job to") -> None:
        super().__init__(f"shutting down; {what} another process or try again later")


class StoreFullError(UnavailableError):
    """The store has no room; nothing was stored. `retry_after_s` is drawn, so that callers do not return together."""

    def __init__(self, retry_after_s: int, *, reason: str = "the job store is full") -> None:
        super().__init__(f"{reason}; try again later")
        self.retry_after_s = retry_after_s


class BackendUnavailableError(UnavailableError):
    """The store did not answer; `job_id` names the job of which nobody knows whether it was stored, if there is one.

    Of a call with many jobs `job_ids` names them, in order. The message is for the log; it may hold the store's own
    words, which no client sees.
    """

    def __init__(self, message: str = "", *, job_id: "JobId | None" = None, job_ids: "Iterable[JobId]" = ()) -> None:
        super().__init__(message or "the job store did not answer")
        self.job_id = job_id
        self.job_ids = tuple(job_ids)


class RegistrationError(GotaskqError):
    """A handler cannot be registered as asked."""


class StartError(GotaskqError):
    """A resource or a lifespan of the program could not be opened, so nothing was started; `__cause__` is why."""

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(f"{what} could not be opened: {type(error).__name__}: {error}")


class RemoteError(GotaskqError):
    """A handler raised in another process: what it raised is there, its name, message and traceback are here."""

    def __init__(self, type_name: str, message: str, *, traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.traceback = traceback
        if traceback:
            self.add_note(f"in the child process:\n{traceback}")


class JobTimeoutError(GotaskqError):
    """An attempt ran for longer than its type or its job allows."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"ran longer than {timeout_s:g} s")
        self.timeout_s = timeout_s


class NoAttemptError(GotaskqError):
    """There is no attempt here: the code runs outside of a handler, or its attempt has ended."""

    def __init__(self) -> None:
        super().__init__(
            "no attempt runs here: call current_context() from a handler, or from what it calls, before it ends"
        )


class ChildEndedError(GotaskqError):
    """The child process that ran the job ended before the handler did, by a signal or by an exit."""


class PayloadDecodeError(GotaskqError):
    """A payload is valid JSON that Python's decoders cannot hold; its bytes are in `job.payload_json`."""


class PayloadMismatchError(GotaskqError):
    """A stored payload does not fit the task that shall run it: nobody checked it when it was stored.

    `reason` says what is wrong, and `path` where, from the payload on, such as `.to`.
    """

    def __init__(self, job_type: str, reason: str, *, path: str = "") -> None:
        super().__init__(f"the payload does not fit task {job_type!r}: {reason}, at $.payload{path}")
        self.reason = reason
        self.path = path


class PayloadVersionError(GotaskqError):
    """A stored payload is of a later version than the code here; a newer worker can run it, so the job is retried."""


class JobFailedError(GotaskqError):
    """The job whose result is waited for is DEAD; `error` is its last error, `reason` why it was given up on."""

    def __init__(self, job_id: object, *, error: str, reason: str) -> None:
        super().__init__(f"job {job_id} is DEAD ({reason}): {error}")
        self.error = error
        self.reason = reason


class JobCancelledError(GotaskqError):
    """The job whose result is waited for is CANCELLED."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} was cancelled, so it has no result")


class ResultUnavailableError(GotaskqError):
    """The job is DONE, but what was kept of its result is not what its task says it returns."""


class NotOpenError(GotaskqError):
    """The TaskQ was used outside `async with app:`."""

    def __init__(self) -> None:
        super().__init__("this TaskQ is not open; use it inside `async with app:`")


class EndlessJobsError(GotaskqError):
    """So many attempts ran for one call of a test that its jobs seem to bring new ones without end."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            f"{attempts} attempts ran, and more are due: does a job enqueue itself, or snooze, without end?"
        )


class IllegalTransitionError(GotaskqError):
    """A job may not go from its status to the one asked for; this is a bug in whoever asked."""
