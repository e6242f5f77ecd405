"""Dead letters from an export, taken in: those that lie here come back as the file has them, others are stored anew.

Used by `TaskQ.dead_letters`.
Invariant: one death of one job runs again once, however often it is taken in. A job that lies here is known by its id
and origin, and this death by how often it had come back; of others the same three are the idempotency key.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from gotaskq.engine.amending import AmendOptions
from gotaskq.engine.requests import ABSENT, JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError, JobGoneError, KeyReusedError, UnavailableError
from gotaskq.headers import REPLAYED_FROM, callers_own
from gotaskq.job import DEAD, Job, JobId
from gotaskq.keys import FoundBy, in_scope
from gotaskq.life import Life
from gotaskq.steering import Steering

SCOPE: Final = "dlq/import"  # no token's id has a slash: nobody else's keys are in it


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """A dead job as an export has it, and perhaps as somebody mended it: `origin` is the enqueue nonce it had there."""

    job_id: JobId
    origin: str
    replays: int
    request: JobRequest


class Taken(Enum):
    """What became of a dead job that was taken in."""

    REPLAYED = "replayed"  # it lay here, and waits again as the file has it
    STORED = "stored"  # it did not, and a new job waits in its place
    ALREADY = "already"  # it was taken in, or came back in another way, before
    CONFLICT = "conflict"  # another job has its unique key


class Importer:
    """Takes dead jobs in."""

    def __init__(self, app: Steering, life: Life) -> None:
        self._app = app
        self._life = life

    async def take(self, exported: Exported) -> Taken | GotaskqError:
        """Take one in, or say why it cannot be; raises UnavailableError, after which it may be taken in again."""
        job = await self._life.parts.backend.get(exported.job_id)
        try:
            if job is not None and job.enqueue_nonce == exported.origin:
                return await self._bring_back(job, exported)
            return await self._store(exported)
        except UnavailableError:
            raise
        except GotaskqError as error:
            return error

    async def _bring_back(self, job: Job, exported: Exported) -> Taken:
        if job.status is not DEAD or job.replays != exported.replays:
            return Taken.ALREADY
        back = await self._app.revive(job, **_changes(job, exported.request))
        if back.is_amended:
            return Taken.REPLAYED
        is_as_it_was = back.job.status is DEAD and back.job.replays == job.replays
        return Taken.CONFLICT if is_as_it_was else Taken.ALREADY

    async def _store(self, exported: Exported) -> Taken:
        key = f"{exported.job_id}.{exported.replays}@{exported.origin}"
        headers = {**(exported.request.headers or {}), REPLAYED_FROM: str(exported.job_id)}
        request = msgspec.structs.replace(exported.request, headers=headers, idempotency_key=in_scope(key, SCOPE))
        try:
            job = await self._life.parts.admission.submit(request)
        except JobGoneError:
            return Taken.ALREADY
        except KeyReusedError as error:
            message = "was imported before with other members; change the job that was made then, or delete this line"
            raise InvalidRequestError(message, field="id") from error
        if job.keys.found_by is None:
            return Taken.STORED
        return Taken.ALREADY if job.keys.found_by is FoundBy.IDEMPOTENCY_KEY else Taken.CONFLICT


def _changes(job: Job, request: JobRequest) -> AmendOptions:
    """Return what the file says otherwise; raises InvalidRequestError for what may not be changed of a job."""
    fixed: Mapping[str, tuple[object, object]] = {
        "type": (request.type, job.type),
        "queue": (request.queue or job.queue, job.queue),
        "headers": (request.headers or {}, callers_own(job.headers)),
        "unique_key": (request.unique_key or "", job.unique_key),
    }
    for name, (wanted, there) in fixed.items():
        if wanted != there:
            raise InvalidRequestError(f"{name} cannot be changed of a job that is dead here; it is {there}", field=name)
    options: AmendOptions = {}
    if request.priority is not None:
        options["priority"] = request.priority
    if request.max_retries is not None:
        options["max_retries"] = request.max_retries
    if request.timeout is not None:
        options["timeout"] = request.timeout
    if request.schedule_timeout is not None:
        options["schedule_timeout"] = request.schedule_timeout
    if request.payload is not ABSENT:
        options["payload"] = request.payload
    return options
