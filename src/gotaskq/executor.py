"""The contract of a worker model: how one handler call is run."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeAlias

from gotaskq.errors import RegistrationError
from gotaskq.job import Job

# A user's function: `async def` for the event loop, `def` for a thread. What it returns is not looked at.
AsyncHandler: TypeAlias = Callable[[Job], Awaitable[object]]
Handler: TypeAlias = Callable[[Job], Any]
# The worker models a handler can ask for; without a wish, `async def` runs on the event loop and `def` in a thread.
ExecutorName: TypeAlias = Literal["process"]


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


def importable_name(handler: Handler) -> str:
    """Return `module:qualname`, by which another process finds this handler; raises RegistrationError without one.

    A method of what decorates a function is found by that function's name, which stands for what decorates it.
    """
    decorated = getattr(getattr(handler, "__self__", None), "__wrapped__", None)
    if inspect.ismethod(handler) and decorated is not None:
        return f"{importable_name(decorated)}.{handler.__name__}"
    shown = getattr(handler, "__qualname__", repr(handler))
    if not inspect.isfunction(handler):
        raise RegistrationError(
            f"{shown} cannot run in a process: it is no plain function. Write a `def` in a module that calls it"
        )
    if inspect.iscoroutinefunction(handler):
        raise RegistrationError(
            f"{shown} cannot run in a process: it is `async def`. Make it `def`; it has the process to itself"
        )
    if "<" in handler.__qualname__:  # <lambda>, or <locals> of the function it was defined in
        raise RegistrationError(
            f"{shown} cannot run in a process: a child finds a handler by its name in a module. "
            f"Define it with `def` at the top level of a module"
        )
    if handler.__module__ == "__main__":
        raise RegistrationError(
            f"{shown} cannot run in a process: it is defined in the program that was started, which a child cannot "
            f"import. Move it to a module of its own and import it"
        )
    return f"{handler.__module__}:{handler.__qualname__}"
