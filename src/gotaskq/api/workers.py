"""`GET /workers`: who runs jobs, in any process on the store."""

from typing import Any

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.schemas import encode_instant
from gotaskq.app import TaskQ
from gotaskq.presence import WorkerPresence


class Workers:
    """The endpoint, of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/workers", endpoint(self.list), methods=["GET"])]

    async def list(self, _: Request) -> Answer:
        """`GET /workers`: the workers that are known, sorted by id."""
        fleet = await self._taskq.fleet()
        answer = {"workers": [_shown(worker) for worker in fleet.workers], "complete": fleet.is_complete}
        return Answer(200, msgspec.json.encode(answer))


def _shown(worker: WorkerPresence) -> dict[str, Any]:
    """Return a worker without what is not known of it; one without `queues` or `types` takes all."""
    members = {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "started_at": None if worker.started_at_ms is None else Raw(encode_instant(worker.started_at_ms)),
        "last_seen_at": Raw(encode_instant(worker.seen_at_ms)),
        "queues": worker.queues,
        "types": worker.types,
        "more": worker.has_more or None,
        "slots": worker.slots,
        "busy": worker.busy,
        "quiet": worker.is_quiet,
        "remote": worker.is_remote or None,
    }
    return {name: value for name, value in members.items() if value is not None}
