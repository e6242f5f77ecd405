"""Operations, wherever they run: `GET /operations`, `GET /operations/{id}`, `POST /operations/{id}/cancel`."""

from typing import Any

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.requests import limit_of, refuse_cross_site_forms
from gotaskq.api.schemas import encode_instant
from gotaskq.app import TaskQ
from gotaskq.bulk import Operation


class OperationRoutes:
    """The endpoints, of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/operations", endpoint(self.list), methods=["GET"]),
            Route("/operations/{id}", endpoint(self.look), methods=["GET"]),
            Route("/operations/{id}/cancel", endpoint(self.cancel), methods=["POST"]),
        ]

    async def list(self, request: Request) -> Answer:
        """`GET /operations`: those that run or ended within a day, the latest begun first."""
        operations = await self._taskq.operations.list(limit=limit_of(request, default=100))
        return Answer(200, b'{"operations":[%b]}' % b",".join(map(encode_operation, operations)))

    async def look(self, request: Request) -> Answer:
        """`GET /operations/{id}`: how far it is."""
        return Answer(200, encode_operation(await self._taskq.operations.get(request.path_params["id"])))

    async def cancel(self, request: Request) -> Answer:
        """`POST /operations/{id}/cancel`: let it end before its next step."""
        refuse_cross_site_forms(request)
        return Answer(200, encode_operation(await self._taskq.operations.cancel(request.path_params["id"])))


async def answer_begun(taskq: TaskQ, operation: Operation, request: Request) -> Answer:
    """Return where to look at an operation that has begun, once every process of the store can be asked about it."""
    await taskq.operations.told(operation.id)
    location = f"{request.scope.get('root_path', '')}/operations/{operation.id}"
    return Answer(202, encode_operation(operation), (("location", location),))


def encode_operation(operation: Operation) -> bytes:
    """Return an operation as a JSON object; what is empty is left out, but for the counts."""
    more: dict[str, Any] = {
        "cancel_requested": operation.is_cancel_requested,
        "errors": [{"id": str(error.job_id), "error": error.error} for error in operation.errors],
        "error": operation.error,
        "finished_at": operation.finished_at_ms and Raw(encode_instant(operation.finished_at_ms)),
    }
    return msgspec.json.encode(
        {
            "id": operation.id,
            "action": operation.action,
            "status": operation.status,
            "matched": operation.matched,
            "done": operation.done,
            "failed": operation.failed,
            "started_at": Raw(encode_instant(operation.started_at_ms)),
            **{name: value for name, value in more.items() if value},
        }
    )
