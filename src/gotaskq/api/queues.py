"""Queues over HTTP: figures that a scaler can read, pause and drain, purge, settings, and their end."""

from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.requests import read_body, refuse_cross_site_forms
from gotaskq.app import TaskQ
from gotaskq.errors import InvalidRequestError
from gotaskq.queue_handle import QueueHandle


class Queues:
    """The endpoints of the queues of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/queues", endpoint(self.list_queues), methods=["GET"]),
            Route("/queues/{name}", endpoint(self.get_or_delete), methods=["GET", "DELETE"]),
            Route("/queues/{name}/stats", endpoint(self.stats), methods=["GET"]),
            Route("/queues/{name}/settings", endpoint(self.settings), methods=["GET", "PATCH"]),
            Route("/queues/{name}/pause", endpoint(self.pause), methods=["POST"]),
            Route("/queues/{name}/resume", endpoint(self.resume), methods=["POST"]),
            Route("/queues/{name}/drain", endpoint(self.drain), methods=["POST"]),
            Route("/queues/{name}/purge", endpoint(self.purge), methods=["POST"]),
        ]

    async def list_queues(self, _: Request) -> Answer:
        """`GET /queues`: the figures of every queue."""
        return _ok({"queues": await self._taskq.queue_stats()})

    async def get_or_delete(self, request: Request) -> Answer:
        """`/queues/{name}`: look at a queue, or delete it."""
        if request.method != "DELETE":
            return await self.stats(request)
        await self._queue(request).delete()
        return Answer(200, b'{"message":"queue deleted successfully"}')

    async def stats(self, request: Request) -> Answer:
        """`GET /queues/{name}/stats`: its figures, flat, so that a scaler needs no more than a member's name."""
        return _ok(await self._queue(request).stats())

    async def settings(self, request: Request) -> Answer:
        """`/queues/{name}/settings`: look at its settings, or change some."""
        queue = self._queue(request)
        if request.method != "PATCH":
            return _ok(await queue.settings())
        return _ok(await queue.change_settings(_members(await read_body(request))))

    async def pause(self, request: Request) -> Answer:
        """`POST /queues/{name}/pause`: give out none of its jobs."""
        queue = self._queue_to_change(request)
        await queue.pause()
        return _ok(await queue.stats())

    async def resume(self, request: Request) -> Answer:
        """`POST /queues/{name}/resume`: give its jobs out again, and take new ones."""
        queue = self._queue_to_change(request)
        await queue.resume()
        return _ok(await queue.stats())

    async def drain(self, request: Request) -> Answer:
        """`POST /queues/{name}/drain`: take no new jobs, and finish those that are there."""
        queue = self._queue_to_change(request)
        await queue.drain()
        return _ok(await queue.stats())

    async def purge(self, request: Request) -> Answer:
        """`POST /queues/{name}/purge`: delete its waiting jobs, and say how many."""
        queue = self._queue_to_change(request)
        purged = await queue.purge()
        return _ok(msgspec.to_builtins(await queue.stats()) | {"purged": purged})

    def _queue(self, request: Request) -> QueueHandle:
        return self._taskq.queue(request.path_params["name"])

    def _queue_to_change(self, request: Request) -> QueueHandle:
        refuse_cross_site_forms(request)
        return self._queue(request)


def _members(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json: settings must be an object") from error


def _ok(content: msgspec.Struct | Mapping[str, object]) -> Answer:
    return Answer(200, msgspec.json.encode(content))
