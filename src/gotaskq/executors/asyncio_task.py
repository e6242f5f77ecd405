"""Runs `async def` handlers on the event loop, in the slot's own task.

Invariant: what one job sets in its context variables, the next job in the same slot does not see.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from gotaskq.executor import Handler
from gotaskq.job import Job


class InOwnContext:
    """Awaits a handler call as a task with a context of its own would, at a fifth of a task's price.

    Each step of the coroutine runs in a copy of the context it began in; what it waits for goes through to the task.
    """

    __slots__ = ("_handler", "_job")

    def __init__(self, handler: Handler, job: Job) -> None:
        self._handler = handler
        self._job = job

    def __await__(self) -> Generator[asyncio.Future[Any] | None, None, object]:
        coroutine: Coroutine[Any, Any, object] = self._handler(self._job)
        run = copy_context().run
        try:
            waited_for = run(coroutine.send, None)
        except StopIteration as stop:
            return stop.value
        while True:
            step: Callable[[Any], Any] = coroutine.send
            argument: BaseException | None = None
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the handler, like in any task
                step, argument = coroutine.throw, error
            try:
                waited_for = run(step, argument)
            except StopIteration as stop:
                return stop.value


class AsyncioExecutor:
    """Awaits the handler in place: no task is made per job. Cancelling the wait cancels the handler."""

    run = InOwnContext

    def open(self) -> None:
        """Nothing to get."""

    def close(self) -> None:
        """Nothing to let go of."""
