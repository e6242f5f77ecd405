"""Requests: what callers ask admission for, and what the door knows of the types they name.

Invariant: plain data; a request is checked when it is admitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from gotaskq.callback import Callback
from gotaskq.engine.limits import checked_priority, checked_retries
from gotaskq.names import check_queue_name

ABSENT: Final = Raw(b"null")  # what a request holds that names no payload


class JobRequest(msgspec.Struct, gc=False):
    """What a caller asks for: the members of the HTTP body, and the queue. Only `type` is required.

    `payload` is JSON that has passed `check_payload`. In seconds are `delay`, `timeout` (for each attempt) and
    `schedule_timeout` (from when the job is due until it starts). A member that is None counts as not given: what the
    task says holds, else the default. `idempotency_key` is in the scope of whoever sent it (`gotaskq.keys`).
    Who changes `headers` puts others in their place: these may be another job's too.
    """

    type: str | None = None
    payload: Raw = ABSENT
    priority: int | None = None
    delay: int | float | None = None
    max_retries: int | None = None
    queue: str | None = None
    timeout: int | float | None = None
    schedule_timeout: int | float | None = None
    headers: Mapping[str, str] | None = None
    unique_key: str | None = None
    idempotency_key: str | None = None
    callback: Callback | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the request asks for one new job, whatever is there, and for nothing else."""
        return self.unique_key is None and self.idempotency_key is None and self.callback is None

    @property
    def has_keys(self) -> bool:
        """Whether the request may find a job that is there in the place of a new one."""
        return self.unique_key is not None or self.idempotency_key is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """What the door knows of a job type: its payloads, and what holds for a request that does not say.

    `check` raises InvalidPayloadError for a payload no handler of the type could read.
    """

    check: Callable[[bytes], None]
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None

    def __post_init__(self) -> None:
        """Raise InvalidRequestError for a value outside its limits."""
        if self.queue is not None:
            check_queue_name(self.queue)
        if self.priority is not None:
            checked_priority(self.priority)
        if self.max_retries is not None:
            checked_retries(self.max_retries)
