"""Requests that take long by design: those that wait for a job, and streams of events.

Counted apart from the others, so that ten thousand who wait do not look like an overload, and limited by themselves.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from starlette.requests import Request

from gotaskq.api.answers import Answer
from gotaskq.api.schemas import encode_error

MAX_LONG_REQUESTS: Final = 3_072  # of the 4,096 connections a server takes, so that others always get one
BUSY_WAITING: Final = Answer(503, encode_error("too many requests wait already"), (("retry-after", "5"),))


class LongRequests:
    """How many there are."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return self.count < MAX_LONG_REQUESTS

    @contextlib.contextmanager
    def waiting(self) -> Iterator[bool]:
        """Count one while the body runs; it says whether there was room for it."""
        if not self.has_room:
            yield False
            return
        self.count += 1
        try:
            yield True
        finally:
            self.count -= 1


def long_requests(request: Request) -> LongRequests:
    """Return what counts a server's long requests; mounted elsewhere, each request is counted alone."""
    found = getattr(request.state, "long_requests", None)
    return found if isinstance(found, LongRequests) else LongRequests()
