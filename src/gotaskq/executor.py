"""The contract of a worker model: how one handler call is run; and what a handler's signature says about it."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Literal, Protocol, TypeAlias

from gotaskq.context import Context
from gotaskq.errors import RegistrationError
from gotaskq.job import Job

# A user's function of the Job, or of the Context where its parameter is annotated so: `async def` for the event loop,
# `def` for a thread. What it returns is the job's result; further parameters are resources, given by their types.
Handler: TypeAlias = Callable[Concatenate[Job, ...], Any] | Callable[Concatenate[Context, ...], Any]
# The worker models a handler can ask for; without a wish, `async def` runs on the event loop and `def` in a thread.
ExecutorName: TypeAlias = Literal["process"]


class Executor(Protocol):
    """Runs handler calls; opened before the first, closed after the last."""

    @property
    def abandoned(self) -> int:
        """How many handlers still run that nobody waits for any more."""
        ...

    def open(self) -> None:
        """Get ready to run."""
        ...

    def close(self) -> None:
        """Let go of what `open` took; must not wait for a handler that does not return."""
        ...

    def run(self, handler: Handler, job: Job) -> Awaitable[object]:
        """Run the handler and return what it returns; whatever it raises goes to the caller.

        Cancelling this call ends the handler, or asks it to end, and the call goes on until it has. Cancelling it again
        stops waiting: what cannot be ended then is abandoned.
        """
        ...


def is_async(handler: Handler) -> bool:
    """Whether calling the handler returns something to await."""
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is `async def` counts
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


def takes_context(handler: Handler) -> bool:
    """Whether the handler's first parameter is annotated as Context: then it is called with that, and not the Job."""
    annotation = _first_annotation(handler)
    if isinstance(annotation, str):  # it names what nobody can look up here, so the name itself must do
        return annotation.strip("'\"").rpartition(".")[2] == Context.__name__
    return annotation is Context


def _first_annotation(handler: Handler) -> object:
    try:
        signature = inspect.signature(handler, eval_str=True)
    except Exception:  # noqa: BLE001 - an annotation as text is code, such as a name imported for type checkers only
        try:
            signature = inspect.signature(handler)
        except (TypeError, ValueError, NameError):  # such as a builtin without a signature
            return None
    return next((parameter.annotation for parameter in signature.parameters.values()), None)


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
