"""One job beyond a look at it: its attempts, its result, why it waits; run it again, run it now, change it.

Invariant: a job that runs or has ended is not changed; 409 names its status.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType
from starlette.requests import Request
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.endpoints import endpoint
from gotaskq.api.explanations import encode_explanation
from gotaskq.api.listing import read_instant
from gotaskq.api.requests import known_id_of, read_body, refuse_cross_site_forms
from gotaskq.api.schemas import (
    check_utf8,
    encode_instant,
    encode_job,
    refuse_repeated_members,
    refused_member,
    shown_attempt,
)
from gotaskq.app import TaskQ
from gotaskq.errors import InvalidRequestError, JobStateError
from gotaskq.job import CANCELLED, DONE, RUNNING, Job

PLAIN: Final = ("priority", "delay", "run_after", "max_retries", "timeout", "schedule_timeout")
NO_PAYLOAD: Final = Raw(b"null")  # told from one that is sent by being this object


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of `PATCH /jobs/{id}`: what is absent stays; a timeout that is null is taken away."""

    priority: int | UnsetType = UNSET
    delay: int | float | UnsetType = UNSET
    run_after: str | UnsetType = UNSET
    max_retries: int | UnsetType = UNSET
    timeout: int | float | UnsetType | None = UNSET
    schedule_timeout: int | float | UnsetType | None = UNSET
    payload: Raw = NO_PAYLOAD


_decode = msgspec.json.Decoder(ChangeBody).decode


class Changes:
    """The endpoints, of one TaskQ."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes; `PATCH /jobs/{id}` shares that of the job."""
        return [
            Route("/jobs/{id}/attempts", endpoint(self.attempts), methods=["GET"]),
            Route("/jobs/{id}/result", endpoint(self.result), methods=["GET"]),
            Route("/jobs/{id}/explain", endpoint(self.explain), methods=["GET"]),
            Route("/jobs/{id}/retry", endpoint(self.retry), methods=["POST"]),
            Route("/jobs/{id}/run", endpoint(self.run_now), methods=["POST"]),
        ]

    async def attempts(self, request: Request) -> Answer:
        """`GET /jobs/{id}/attempts`: the last attempts that failed, and the one that runs or ended the job."""
        return Answer(200, encode_attempts(await self._taskq.get(known_id_of(request))))

    async def result(self, request: Request) -> Answer:
        """`GET /jobs/{id}/result`: what the handler of a job that is DONE returned, and nothing around it."""
        job = await self._taskq.get(known_id_of(request))
        if job.status is not DONE:
            raise JobStateError(job.id, job.status, "only a job that is DONE has a result")
        return Answer(200, job.result_json or b"null")

    async def explain(self, request: Request) -> Answer:
        """`GET /jobs/{id}/explain`: why it has not run."""
        return Answer(200, encode_explanation(await self._taskq.explain(known_id_of(request))))

    async def retry(self, request: Request) -> Answer:
        """`POST /jobs/{id}/retry`: run a job again that has failed."""
        refuse_cross_site_forms(request)
        return Answer(200, encode_job(await self._taskq.retry(known_id_of(request))))

    async def run_now(self, request: Request) -> Answer:
        """`POST /jobs/{id}/run`: let a job that waits be due now."""
        refuse_cross_site_forms(request)
        return Answer(200, encode_job(await self._taskq.run_now(known_id_of(request))))

    async def amend(self, request: Request) -> Answer:
        """`PATCH /jobs/{id}`: change a job that waits."""
        job_id = known_id_of(request)
        options = decode_change(await read_body(request))
        return Answer(200, encode_job(await self._taskq.amend(job_id, **options)))


def decode_change(body: bytes) -> dict[str, Any]:
    """Return what a body changes, as the options of `TaskQ.amend`; raises InvalidRequestError that names the member."""
    try:
        change = _decode(body)
    except msgspec.ValidationError as error:
        raise refused_member(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    check_utf8(body)
    refuse_repeated_members(body)
    options = {name: value for name in PLAIN if (value := getattr(change, name)) is not UNSET}
    if change.payload is not NO_PAYLOAD:
        options["payload"] = change.payload
    if "run_after" in options:
        options["run_after"] = read_instant(options["run_after"], field="run_after")
    return options


def encode_attempts(job: Job) -> bytes:
    """Return a job's last attempts that failed, and after them the one that runs, or that ended it otherwise."""
    shown = [shown_attempt(attempt) for attempt in job.trail.attempts]
    has_failed = any(attempt.number == job.attempt for attempt in job.trail.attempts)
    if job.status in (RUNNING, DONE, CANCELLED) and job.attempt and not has_failed:
        latest: dict[str, object] = {
            "attempt": job.attempt,
            "status": job.status.value,
            "started_at": job.started_at_ms and Raw(encode_instant(job.started_at_ms)),
            "finished_at": job.finished_at_ms and Raw(encode_instant(job.finished_at_ms)),
            "worker": job.worker,
        }
        shown.append({name: value for name, value in latest.items() if value})
    answer = {"id": str(job.id), "status": job.status.value, "attempt": job.attempt, "attempts": shown}
    return msgspec.json.encode(answer)
