"""The dead letters over HTTP: listed, grouped by what they died of, brought back one or many, deleted.

Invariant: `GET /dlq` stays the bare array the original answers with; where there are more, a Link header says so.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Raw
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gotaskq.api.answers import Answer
from gotaskq.api.dead_lines import decode_lines, encode_line, encode_taken
from gotaskq.api.endpoints import endpoint
from gotaskq.api.listing import filters_of, read_query
from gotaskq.api.operation_routes import answer_begun
from gotaskq.api.requests import MAX_BATCH_BYTES, job_id_of, limit_of, read_body
from gotaskq.api.schemas import decode_members, encode_instant, encode_job, encode_jobs
from gotaskq.app import TaskQ
from gotaskq.dead_letters import MOST_REPLAYED, DeathGroup, Replayed
from gotaskq.errors import DeadJobNotFoundError, GotaskqError, InvalidRequestError, JobNotFoundError
from gotaskq.filters import JobFilter
from gotaskq.job import Job, JobId, Status
from gotaskq.replaying import MOST_LOOKED_AT, checked_rate

FINGERPRINT: Final = "fingerprint"
FINGERPRINT_PATTERN: Final = "[0-9a-f]{16}"
NDJSON: Final = "application/x-ndjson"
PAGING: Final = frozenset({"limit", "cursor"})
NO_PATCH: Final = Raw(b"")
FILTERS: Final = frozenset({"type", "queue", "since", "until", "q"})


class ReplayMany(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /dlq/replay`: which dead jobs are meant."""

    fingerprint: Annotated[str, Meta(pattern=f"^{FINGERPRINT_PATTERN}$")] | None = None
    type: str | None = None
    queue: str | None = None
    since: str | None = None
    until: str | None = None
    q: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_REPLAYED)] | None = None
    patch: Raw = NO_PATCH
    rate: float | None = None
    dry_run: bool = False


class ReplayOne(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /dlq/{id}/replay`, which may be left out."""

    patch: Raw = NO_PATCH


class DeadLetterRoutes:
    """The endpoints of one TaskQ's dead letters."""

    def __init__(self, taskq: TaskQ) -> None:
        self._taskq = taskq

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/dlq", endpoint(self.list_dead), methods=["GET"]),
            Route("/dlq/summary", endpoint(self.summary), methods=["GET"]),
            Route("/dlq/export", endpoint(self.export), methods=["GET"]),
            Route("/dlq/import", endpoint(self.take_in), methods=["POST"]),
            Route("/dlq/replay", endpoint(self.replay_many), methods=["POST"]),
            Route("/dlq/{id}", endpoint(self.get_or_delete), methods=["GET", "DELETE"]),
            Route("/dlq/{id}/replay", endpoint(self.replay), methods=["POST"]),
        ]

    async def list_dead(self, request: Request) -> Answer:
        """`GET /dlq`: dead jobs, the latest death first, by type, queue, time, text or payload."""
        limit = limit_of(request)
        words, criteria = read_query(request, known=FILTERS | PAGING)
        filters: JobFilter = {**filters_of(words, criteria), "status": Status.DEAD}
        page = await self._taskq.list_jobs(cursor=words.get("cursor"), limit=limit, **filters)
        headers: tuple[tuple[str, str], ...] = ()
        if page.next_cursor is not None:
            asked = {name: text for name, text in request.query_params.items() if name not in PAGING}
            target = request.url.replace(query=urlencode({**asked, "limit": limit, "cursor": page.next_cursor}))
            headers = (("link", f'<{target.path}?{target.query}>; rel="next"'),)
        return Answer(200, encode_jobs(page.jobs), headers)

    async def summary(self, request: Request) -> Answer:
        """`GET /dlq/summary`: dead jobs by what they died of, the largest group first."""
        words, criteria = read_query(request, known=FILTERS)
        found = await self._taskq.dead_letters.summary(**filters_of(words, criteria))
        shown = {"groups": [_shown(group) for group in found.groups], "complete": found.is_complete}
        return Answer(200, msgspec.json.encode(shown))

    async def replay_many(self, request: Request) -> Answer:
        """`POST /dlq/replay`: run again the dead jobs that are meant, at a `rate`, or with `dry_run` count them."""
        wish = decode_members(await read_body(request) or b"{}", ReplayMany)
        words = {name: text for name in sorted(FILTERS) if (text := getattr(wish, name)) is not None}
        filters, dead_letters = filters_of(words, {}), self._taskq.dead_letters
        fingerprint, patch, limit = wish.fingerprint, _patch_of(wish.patch), wish.limit
        rate = None if wish.rate is None else checked_rate(wish.rate)
        if rate is None or wish.dry_run:
            if rate is not None and limit is None:
                limit = MOST_LOOKED_AT  # without one, all of them come back at their rate
            found = await dead_letters.replay(
                fingerprint=fingerprint, patch=patch, limit=limit, dry_run=wish.dry_run, **filters
            )
            return Answer(200, _encode_replayed(found))
        operation = dead_letters.replay_paced(rate=rate, fingerprint=fingerprint, patch=patch, limit=limit, **filters)
        return await answer_begun(self._taskq, operation, request)

    async def export(self, request: Request) -> Response:
        """`GET /dlq/export`: dead jobs, a line each, as many as there are."""
        words, criteria = read_query(request, known=FILTERS | {FINGERPRINT})
        fingerprint = words.pop(FINGERPRINT, None)
        if fingerprint is not None and not re.fullmatch(FINGERPRINT_PATTERN, fingerprint):
            raise InvalidRequestError("fingerprint must be one that GET /dlq/summary has", field=FINGERPRINT)
        jobs = self._taskq.dead_letters.export(fingerprint=fingerprint, **filters_of(words, criteria))
        first = await anext(jobs, None)  # what is refused, and a store that is away, is answered with a status

        async def lines() -> AsyncIterator[bytes]:
            if first is not None:
                yield encode_line(first)
            async for job in jobs:
                yield encode_line(job)

        return StreamingResponse(lines(), media_type=NDJSON)

    async def take_in(self, request: Request) -> Answer:
        """`POST /dlq/import`: run dead jobs again that an export has."""
        lines = decode_lines(await read_body(request, max_bytes=MAX_BATCH_BYTES))
        dead_letters = self._taskq.dead_letters
        taken = [
            (number, line if isinstance(line, GotaskqError) else await dead_letters.take_in(line))
            for number, line in lines
        ]
        return Answer(200, encode_taken(taken))

    async def get_or_delete(self, request: Request) -> Answer:
        """`/dlq/{id}`: look at a dead job with its attempts, or forget it."""
        job_id = _job_id(request)
        if request.method == "DELETE":
            await self._taskq.delete_dead(job_id)
            return Answer(200, b'{"message":"dead job deleted successfully"}')
        job = await self._dead(job_id)
        return Answer(200, encode_job(job, with_attempts=True))

    async def replay(self, request: Request) -> Answer:
        """`POST /dlq/{id}/replay`: run a dead job again, with its payload patched where the body has a patch."""
        wish = decode_members(await read_body(request) or b"{}", ReplayOne)
        return Answer(200, encode_job(await self._taskq.replay(_job_id(request), patch=_patch_of(wish.patch))))

    async def _dead(self, job_id: JobId) -> Job:
        try:
            job = await self._taskq.get(job_id)
        except JobNotFoundError:
            raise DeadJobNotFoundError(job_id) from None
        if job.status is not Status.DEAD:
            raise DeadJobNotFoundError(job_id)
        return job


def _job_id(request: Request) -> JobId:
    job_id = job_id_of(request)
    if job_id is None:
        raise DeadJobNotFoundError(request.path_params["id"])
    return job_id


def _patch_of(patch: Raw) -> Raw | None:
    """Return the patch of a body, None where it has none; null is a patch that is none, and refused as that."""
    return None if patch is NO_PATCH else patch


def _encode_replayed(found: Replayed) -> bytes:
    """Return what a replay did, or would do; what is empty is left out, but for what is always said."""
    refusals = [
        {"id": str(refusal.job_id), "error": refusal.error} | ({"field": refusal.field} if refusal.field else {})
        for refusal in found.refusals
    ]
    example = found.example and {
        "id": str(found.example.job_id),
        "before": found.example.before,
        "after": found.example.after,
    }
    more = {"conflicts": found.conflicts, "refused": found.refused, "errors": refusals, "example": example}
    return msgspec.json.encode(
        {"matched": found.matched, "replayed": found.replayed, "complete": found.is_complete}
        | {name: value for name, value in more.items() if value}
    )


def _shown(group: DeathGroup) -> dict[str, object]:
    death = group.death
    return {
        "fingerprint": death.fingerprint,
        "type": death.job_type,
        "reason": death.reason,
        "error": death.error,
        "place": death.place,
        "count": group.count,
        "first_died_at": msgspec.Raw(encode_instant(group.first_died_ms)),
        "last_died_at": msgspec.Raw(encode_instant(group.last_died_ms)),
        "example": str(group.example),
    }
