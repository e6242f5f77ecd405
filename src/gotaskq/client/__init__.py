"""A typed client of the HTTP API, for programs that do not hold the store: `Client`, and `AsyncClient` for asyncio.

Needs the extra `client`: `pip install gotaskq[client]`.
"""

from gotaskq.client.asynchronous import AsyncClient
from gotaskq.client.calls import ApiError, NoAnswerError
from gotaskq.client.models import (
    BatchResult,
    ImportResult,
    JobEvent,
    JobInfo,
    JobPage,
    OperationInfo,
    TypeInfo,
    WorkerInfo,
)
from gotaskq.client.synchronous import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "BatchResult",
    "Client",
    "ImportResult",
    "JobEvent",
    "JobInfo",
    "JobPage",
    "NoAnswerError",
    "OperationInfo",
    "TypeInfo",
    "WorkerInfo",
]
