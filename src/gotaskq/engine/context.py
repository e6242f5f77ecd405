"""A context of its own for each attempt: what one job sets in its context variables, the next one does not see."""

from collections.abc import Callable, Generator
from contextvars import copy_context
from typing import Any

from gotaskq.engine.middleware import CallNext
from gotaskq.job import Job


def begin_in_own_context(call: CallNext, job: Job) -> "Rest | None":
    """Run a call in a copy of this context up to where it first waits; None: it has ended without waiting.

    Most short handlers never wait, and then nothing is made to wait with (benchmarks/questions/in_process.py).
    """
    run = copy_context().run
    awaited: Any = run(call, job).__await__()
    try:
        waited_for = run(awaited.send, None)
    except StopIteration:
        return None
    return Rest(run, awaited, waited_for)


class Rest:
    """What is left of a call that waits; awaited, it goes on as a task with a context of its own would.

    Each step runs in the context the call began in; what it waits for goes through to the task.
    """

    __slots__ = ("_awaited", "_run", "_waited_for")

    def __init__(self, run: Callable[..., Any], awaited: Any, waited_for: object) -> None:
        self._run = run
        self._awaited = awaited
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, None]:
        run, awaited, waited_for = self._run, self._awaited, self._waited_for
        while True:
            step, argument = awaited.send, None
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the handler, like in any task
                step, argument = awaited.throw, error
            try:
                waited_for = run(step, argument)
            except StopIteration:
                return
