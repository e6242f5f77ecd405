"""Runs `async def` handlers on the event loop, in the slot's own task."""

from collections.abc import Awaitable, Callable
from typing import cast

from gotaskq.executor import Handler
from gotaskq.job import Job


class AsyncioExecutor:
    """Calls the handler for the slot to await: no task is made per job, and cancelling the wait cancels the handler."""

    abandoned = 0  # what will not end keeps its slot's task, and the worker counts that

    def open(self) -> None:
        """Nothing to get."""

    def close(self) -> None:
        """Nothing to let go of."""

    def run(self, handler: Handler, job: Job) -> Awaitable[object]:
        """Run the handler in the task that awaits it."""
        return cast("Callable[[Job], Awaitable[object]]", handler)(job)
