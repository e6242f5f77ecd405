"""The contract of a worker model: how one handler call is run."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from gotaskq.job import Job

# A user's function: `async def` for the event loop, `def` for a thread. What it returns is not looked at.
AsyncHandler: TypeAlias = Callable[[Job], Awaitable[object]]
Handler: TypeAlias = Callable[[Job], Any]


class Executor(Protocol):
    """Runs handler calls; opened before the first, closed after the last."""

    def open(self) -> None:
        """Get ready to run."""
        ...

    def close(self) -> None:
        """Let go of what `open` took; must not wait for a handler that does not return."""
        ...

    def run(self, handler: Handler, job: Job) -> Awaitable[object]:
        """Run the handler and return what it returns; whatever it raises goes to the caller.

        Cancelling this call ends the handler where that is possible, and in any case stops waiting for it.
        """
        ...
