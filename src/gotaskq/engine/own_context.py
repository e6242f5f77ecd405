"""A context of its own for each attempt: what one job sets in its context variables, the next one does not see."""

from collections.abc import Callable, Generator
from contextvars import copy_context
from typing import Any

from gotaskq.context import RUNNING_JOB
from gotaskq.engine.middleware import CallNext
from gotaskq.job import Job


def begin_in_own_context(call: CallNext, job: Job) -> "Rest | object":
    """Run a call in a copy of this context up to where it first waits: return the rest of it, or what it returned.

    Most short handlers never wait, and then nothing is made to wait with (benchmarks/questions/in_process.py).
    """
    RUNNING_JOB.set(job)  # here, and so in the copy: setting it there would take a call more
    run = copy_context().run
    awaited: Any = run(call, job).__await__()
    try:
        waited_for = run(awaited.send, None)
    except StopIteration as stop:
        returned: object = stop.value
        return returned
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

    def __await__(self) -> Generator[Any, Any, object]:
        run, awaited, waited_for = self._run, self._awaited, self._waited_for
        while True:
            step, argument = awaited.send, None
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the handler, like in any task
                ours = error.__traceback__  # this line: the handler's own are above and below it
                step, argument = awaited.throw, error.with_traceback(ours and ours.tb_next)
            try:
                waited_for = run(step, argument)
            except StopIteration as stop:
                return stop.value
