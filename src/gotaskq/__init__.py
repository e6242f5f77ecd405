"""GoTaskQ: a job queue that is an HTTP service and a library at once.

Importing this loads no server and no store; each name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gotaskq.app import TaskQ as TaskQ
    from gotaskq.backend import QueueCounts as QueueCounts
    from gotaskq.callback import Callback as Callback
    from gotaskq.config import Settings as Settings
    from gotaskq.context import INJECTED as INJECTED
    from gotaskq.context import Context as Context
    from gotaskq.context import current_context as current_context
    from gotaskq.control import Cancel as Cancel
    from gotaskq.control import Discard as Discard
    from gotaskq.control import Retry as Retry
    from gotaskq.control import Snooze as Snooze
    from gotaskq.engine.requests import JobRequest as JobRequest
    from gotaskq.errors import GotaskqError as GotaskqError
    from gotaskq.executors.process.options import ProcessOptions as ProcessOptions
    from gotaskq.handle import JobHandle as JobHandle
    from gotaskq.handle import SyncJobHandle as SyncJobHandle
    from gotaskq.job import Job as Job
    from gotaskq.job import Status as Status
    from gotaskq.policies.ordering import Fifo as Fifo
    from gotaskq.policies.ordering import PriorityFifo as PriorityFifo
    from gotaskq.policies.retry import ExponentialBackoff as ExponentialBackoff
    from gotaskq.policies.retry import FixedDelay as FixedDelay
    from gotaskq.policies.retry import NoRetry as NoRetry
    from gotaskq.policies.scheduling import RoundRobin as RoundRobin
    from gotaskq.policies.scheduling import StrictPriority as StrictPriority
    from gotaskq.policies.scheduling import Weighted as Weighted
    from gotaskq.task import Task as Task

_HOMES: Final = {
    "Callback": "gotaskq.callback",
    "Cancel": "gotaskq.control",
    "Context": "gotaskq.context",
    "Discard": "gotaskq.control",
    "ExponentialBackoff": "gotaskq.policies.retry",
    "Fifo": "gotaskq.policies.ordering",
    "FixedDelay": "gotaskq.policies.retry",
    "GotaskqError": "gotaskq.errors",
    "INJECTED": "gotaskq.context",
    "Job": "gotaskq.job",
    "JobHandle": "gotaskq.handle",
    "JobRequest": "gotaskq.engine.admission",
    "NoRetry": "gotaskq.policies.retry",
    "PriorityFifo": "gotaskq.policies.ordering",
    "ProcessOptions": "gotaskq.executors.process.options",
    "QueueCounts": "gotaskq.backend",
    "Retry": "gotaskq.control",
    "RoundRobin": "gotaskq.policies.scheduling",
    "Settings": "gotaskq.config",
    "Snooze": "gotaskq.control",
    "Status": "gotaskq.job",
    "StrictPriority": "gotaskq.policies.scheduling",
    "SyncJobHandle": "gotaskq.handle",
    "Task": "gotaskq.task",
    "TaskQ": "gotaskq.app",
    "Weighted": "gotaskq.policies.scheduling",
    "current_context": "gotaskq.context",
}

__all__ = [
    "INJECTED",
    "Callback",
    "Cancel",
    "Context",
    "Discard",
    "ExponentialBackoff",
    "Fifo",
    "FixedDelay",
    "GotaskqError",
    "Job",
    "JobHandle",
    "JobRequest",
    "NoRetry",
    "PriorityFifo",
    "ProcessOptions",
    "QueueCounts",
    "Retry",
    "RoundRobin",
    "Settings",
    "Snooze",
    "Status",
    "StrictPriority",
    "SyncJobHandle",
    "Task",
    "TaskQ",
    "Weighted",
    "current_context",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gotaskq' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
