"""A context of its own for each attempt: what one job sets in its context variables, the next one does not see."""

from collections.abc import Generator
from contextvars import copy_context
from typing import Any

from gotaskq.engine.middleware import CallNext
from gotaskq.job import Job


class InOwnContext:
    """Awaits a call as a task with a context of its own would.

    Each step of what is awaited runs in a copy of the context it began in; what it waits for goes through to the task.
    """

    __slots__ = ("_call", "_job")

    def __init__(self, call: CallNext, job: Job) -> None:
        self._call = call
        self._job = job

    def __await__(self) -> Generator[Any, Any, object]:
        run = copy_context().run
        awaited: Any = run(self._call, self._job).__await__()
        try:
            waited_for = run(awaited.send, None)
        except StopIteration as stop:
            return stop.value
        while True:
            step, argument = awaited.send, None
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the handler, like in any task
                step, argument = awaited.throw, error
            try:
                waited_for = run(step, argument)
            except StopIteration as stop:
                return stop.value
