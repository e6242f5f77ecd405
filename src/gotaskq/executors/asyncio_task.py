"""Runs `async def` handlers on the event loop, in the slot's own task."""

from collections.abc import Awaitable

from gotaskq.executor import Handler
from gotaskq.job import Job


class AsyncioExecutor:
    """Calls the handler for the slot to await: no task is made per job, and cancelling the wait cancels the handler."""

    def open(self) -> None:
        """Nothing to get."""

    def close(self) -> None:
        """Nothing to let go of."""

    def run(self, handler: Handler, job: Job) -> Awaitable[object]:
        """Run the handler in the task that awaits it."""
        awaitable: Awaitable[object] = handler(job)
        return awaitable
