"""Middleware around an enqueue: what users put between whoever asks for a job and the store.

It is `async def middleware(request, call_next)`; it decides, changes the request, or records what came of it.
Invariant: whatever stands around them, the jobs of one call are still stored in one call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from gotaskq.engine.requests import JobRequest
from gotaskq.engine.ways import Answers, Requests, Submits
from gotaskq.errors import GotaskqError, WithheldError
from gotaskq.job import Job

SubmitNext: TypeAlias = Callable[[JobRequest], Awaitable[Job]]
EnqueueMiddleware: TypeAlias = Callable[[JobRequest, SubmitNext], Awaitable[Job]]


class Surrounded:
    """Requests pass the middleware, one by one, before they are stored together."""

    def __init__(self, middleware: Sequence[EnqueueMiddleware], way: Submits) -> None:
        self._middleware = tuple(middleware)
        self._way = way

    async def submit(self, request: JobRequest) -> Job:
        """Take one request through the middleware to the store."""
        return await self._around(self._way.submit)(request)

    async def submit_many(self, requests: Requests, *, atomic: bool) -> Answers:
        """Take each request through the middleware, and all that come through to the store in one call."""
        batch = _Batch(requests, self._way, atomic=atomic)
        try:
            async with asyncio.TaskGroup() as passing:
                for index, request in enumerate(requests):
                    if isinstance(request, JobRequest):
                        passing.create_task(batch.take(index, request, self._around))
                    else:
                        batch.refuse(index, request)
                passing.create_task(batch.store())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # as one enqueue would have raised it
        return batch.answers

    def _around(self, innermost: SubmitNext) -> SubmitNext:
        call = innermost
        for layer in reversed(self._middleware):
            call = _wrap(layer, call)
        return call


def _wrap(layer: EnqueueMiddleware, call_next: SubmitNext) -> SubmitNext:
    def call(request: JobRequest) -> Awaitable[Job]:
        return layer(request, call_next)

    return call


class _Batch:
    """The requests of one call: each waits behind its middleware until the last has come through, or was answered."""

    def __init__(self, requests: Requests, way: Submits, *, atomic: bool) -> None:
        self._way = way
        self._atomic = atomic
        self._outstanding = len(requests)
        self._all_came = asyncio.Event()
        self._came: dict[int, tuple[JobRequest, asyncio.Future[Job]]] = {}
        self._answers: dict[int, Job | GotaskqError] = {}
        if not requests:
            self._all_came.set()

    @property
    def answers(self) -> Answers:
        """The answers, in the order of the requests."""
        return [self._answers[index] for index in sorted(self._answers)]

    async def take(self, index: int, request: JobRequest, around: Callable[[SubmitNext], SubmitNext]) -> None:
        """Take one request through its middleware, and keep what comes of it."""

        async def come(request: JobRequest) -> Job:
            if index in self._came:
                raise RuntimeError("a middleware called call_next twice for one job of enqueue_many")
            stored: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
            self._came[index] = (request, stored)
            self._count()
            return await stored

        try:
            answer: Job | GotaskqError = await around(come)(request)
        except GotaskqError as error:
            answer = error
        if index in self._came:
            self._answers[index] = answer
        else:
            self.refuse(index, answer)

    def refuse(self, index: int, answer: Job | GotaskqError) -> None:
        """Keep the answer of a request that does not go to the store."""
        self._answers[index] = answer
        self._count()

    async def store(self) -> None:
        """Store what came through, once all have come, and tell each its answer."""
        await self._all_came.wait()
        stored: Answers
        if self._atomic and any(isinstance(answer, GotaskqError) for answer in self._answers.values()):
            stored = [WithheldError() for _ in self._came]
        else:
            came = [request for request, _ in self._came.values()]
            stored = await self._way.submit_many(came, atomic=self._atomic)
        for (_, waiting), answer in zip(self._came.values(), stored, strict=True):
            if isinstance(answer, Job):
                waiting.set_result(answer)
            else:
                waiting.set_exception(answer)

    def _count(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._all_came.set()
