"""Middleware: what users put around an attempt; it may change what happens.

Composed once when a handler is registered, so an app without middleware pays nothing per job.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from gotaskq.job import Job

CallNext: TypeAlias = Callable[[Job], Awaitable[object]]
Middleware: TypeAlias = Callable[[Job, CallNext], Awaitable[object]]


def compose(middleware: Sequence[Middleware], innermost: CallNext) -> CallNext:
    """Wrap `innermost` so that the first middleware is the outermost."""
    call = innermost
    for layer in reversed(middleware):
        call = _wrap(layer, call)
    return call


def _wrap(layer: Middleware, call_next: CallNext) -> CallNext:
    def call(job: Job) -> Awaitable[object]:
        return layer(job, call_next)

    return call
