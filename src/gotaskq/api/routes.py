"""The routes: the original's contract, what describes it, and the two health checks."""

import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gotaskq.api.actions import Actions
from gotaskq.api.answers import Answer, refuse
from gotaskq.api.changes import Changes
from gotaskq.api.dead_letters import DeadLetterRoutes
from gotaskq.api.described import Described
from gotaskq.api.endpoints import endpoint, response_of
from gotaskq.api.leases import Leases
from gotaskq.api.listing import list_jobs
from gotaskq.api.once import refuse_key_of_batch, sent_key, status_of
from gotaskq.api.operation_routes import OperationRoutes
from gotaskq.api.queues import Queues
from gotaskq.api.requests import (
    MAX_BATCH_BYTES,
    known_id_of,
    read_body,
    refuse_cross_site_forms,
)
from gotaskq.api.schemas import encode_job
from gotaskq.api.submit import accept, submit, submit_batch
from gotaskq.api.watching import Watching, wish_of
from gotaskq.api.workers import Workers
from gotaskq.app import TaskQ
from gotaskq.errors import GotaskqError, JobEndedError
from gotaskq.headers import TRACEPARENT, trace_of
from gotaskq.job import Status
from gotaskq.names import check_queue_name

NDJSON: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
OK: Final = b'{"status":"ok"}'

logger = logging.getLogger(__name__)


class Routes:
    """The endpoints of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq
        self._watching = Watching(taskq)
        self._changes = Changes(taskq)

    def routes(self) -> list[Route]:
        """Return every route, in the order they are matched."""
        return [
            Route("/jobs", endpoint(self.list_or_submit_jobs), methods=["GET", "POST"]),
            Route("/jobs/batch", endpoint(self.submit_batch), methods=["POST"]),
            *Actions(self._taskq).routes(),
            *OperationRoutes(self._taskq).routes(),
            # One route, since a refusal of other methods names those of the first that has the path.
            Route("/jobs/{id}", endpoint(self.serve_job), methods=["GET", "PATCH", "DELETE"]),
            *self._changes.routes(),
            Route("/jobs/{id}/cancel", endpoint(self.cancel_job), methods=["POST"]),
            *DeadLetterRoutes(self._taskq).routes(),
            Route("/queue", endpoint(self.list_queues), methods=["GET"]),
            Route("/queue/{name}", endpoint(self.create_queue), methods=["POST"]),
            *Leases(self._taskq).routes(),
            *Queues(self._taskq).routes(),
            *Workers(self._taskq).routes(),
            *self._watching.routes(),
            *Described(self._taskq).routes(),
            *self.health_routes(),
            Route("/{queue}/jobs", endpoint(self.submit_job), methods=["POST"]),
        ]

    def health_routes(self) -> list[Route]:
        """Return the routes that every process has which listens at all."""
        return [
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/healthz", endpoint(self.live), methods=["GET"]),
            Route("/readyz", endpoint(self.ready), methods=["GET"]),
        ]

    async def list_or_submit_jobs(self, request: Request) -> Answer:
        """`/jobs`: list jobs, or store one."""
        return await (self.submit_job(request) if request.method == "POST" else list_jobs(self._taskq, request))

    async def submit_job(self, request: Request) -> Answer:
        """`POST /jobs`, `POST /{queue}/jobs`: store a job."""
        queue = request.path_params.get("queue")
        wish = wish_of(request)
        body, key = await read_body(request), sent_key(request)
        named, trace = None if queue is None else check_queue_name(queue), _trace_of(request)
        if not wish.seconds:
            return await submit(self._taskq.door, body, named, key=key, principal=_principal(request), trace=trace)
        job = await accept(self._taskq.door, body, named, key=key, principal=_principal(request), trace=trace)
        status, headers = status_of(job)
        answer = await self._watching.answer(request, wish, job, status=status, with_attempts=True)
        return Answer(answer.status, answer.body, (*answer.headers, *headers))

    async def submit_batch(self, request: Request) -> Answer:
        """`POST /jobs/batch`: store many jobs in one call."""
        refuse_key_of_batch(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await read_body(request, max_bytes=MAX_BATCH_BYTES)
        is_lines = media_type in NDJSON
        return await submit_batch(self._taskq.door, body, lines=is_lines, trace=_trace_of(request))

    async def serve_job(self, request: Request) -> Answer:
        """`/jobs/{id}`: look at a job, change it, or forget it."""
        act = {"DELETE": self.delete_job, "PATCH": self._changes.amend}.get(request.method, self.get_job)
        return await act(request)

    async def get_job(self, request: Request) -> Answer:
        """`GET /jobs/{id}`: look at a job, and at its last attempts that failed; with `?wait=` once it has ended."""
        wish = wish_of(request)
        job = await self._taskq.get(known_id_of(request))
        return await self._watching.answer(request, wish, job, status=200, with_attempts=True)

    async def cancel_job(self, request: Request) -> Answer:
        """`POST /jobs/{id}/cancel`: cancel a job that waits, ask one that runs to end."""
        refuse_cross_site_forms(request)
        job = await self._taskq.cancel(known_id_of(request))
        if job.status in (Status.DONE, Status.DEAD):
            raise JobEndedError(job.id, job.status)
        return Answer(200, encode_job(job))

    async def delete_job(self, request: Request) -> Answer:
        """`DELETE /jobs/{id}`: forget a job; one that runs is asked to end first, and is there until it has."""
        job = await self._taskq.delete(known_id_of(request))
        if job.status is Status.RUNNING:
            return Answer(202, encode_job(job))
        return Answer(200, b'{"message":"job deleted successfully"}')

    async def create_queue(self, request: Request) -> Answer:
        """`POST /queue/{name}`: register a queue."""
        refuse_cross_site_forms(request)
        await self._taskq.create_queue(request.path_params["name"])
        return Answer(201, b'"Success creating new queue"')

    async def list_queues(self, _: Request) -> Answer:
        """`GET /queue`: the names of all queues, sorted."""
        names = ",".join(f'"{name}"' for name in sorted(await self._taskq.queues()))
        return Answer(200, f"[{names}]".encode())

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`: the counters, for Prometheus."""
        try:
            page = await self._taskq.metrics_page()
        except GotaskqError as error:
            return response_of(refuse(error))
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def live(self, _: Request) -> Answer:
        """`GET /healthz`: this process is alive."""
        return Answer(200, OK)

    async def ready(self, _: Request) -> Answer:
        """`GET /readyz`: this process takes jobs; 503 while it starts or drains, or its store is away."""
        if self._taskq.is_draining or not self._taskq.is_accepting:
            return Answer(503, b'{"status":"draining"}')
        if not self._taskq.is_reachable:
            return Answer(503, b'{"status":"store unavailable"}')
        return Answer(200, OK)


def _principal(request: Request) -> str:
    return str(getattr(request.state, "principal", ""))


def _trace_of(request: Request) -> str | None:
    return trace_of(request.headers.getlist(TRACEPARENT))
