"""Ways in: how requests become stored jobs, straight or with something around it.

`Admission` is the straight way; what surrounds it, such as the middleware of enqueueing, is a way too.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gotaskq.engine.requests import JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError
from gotaskq.job import Job

Requests: TypeAlias = Sequence[JobRequest | InvalidRequestError]
Answers: TypeAlias = list[Job | GotaskqError]


class Submits(Protocol):
    """A way for requests to become stored jobs."""

    def submit(self, request: JobRequest) -> Awaitable[Job]:
        """Return one job as stored; raises for one that is refused."""
        ...

    def submit_many(self, requests: Requests, *, atomic: bool) -> Awaitable[Answers]:
        """Return for each request its job as stored, or why it was not."""
        ...


@dataclass(frozen=True, slots=True)
class Straight:
    """The way into the store, with nothing around it."""

    submit: Callable[[JobRequest], Awaitable[Job]]
    submit_many: Callable[..., Awaitable[Answers]]
