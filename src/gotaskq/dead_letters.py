"""The dead letters as a workbench: by what they died of, and brought back many at once.

Held by `TaskQ.dead_letters`.
Invariant: a call looks at a bounded number of dead jobs and says when there are more.
"""

from collections.abc import AsyncIterator
from typing import Final, Unpack

import msgspec
from msgspec import Raw

from gotaskq.bulk import MAX_ERRORS, Action, Bulk, Operation
from gotaskq.errors import GotaskqError, InvalidPayloadError, InvalidRequestError
from gotaskq.filters import JobFilter
from gotaskq.fingerprint import Death, death_of
from gotaskq.importing import Exported, Importer, Taken
from gotaskq.job import Job, JobId
from gotaskq.life import Life
from gotaskq.merge_patch import MergePatch
from gotaskq.replaying import (
    CONFLICT,
    MOST_LOOKED_AT,
    Example,
    Meant,
    Mender,
    Refusal,
    Selection,
    checked_rate,
    paced,
    walk,
)
from gotaskq.steering import Steering

MOST_REPLAYED: Final = 1_000  # in one call: somebody may have meant fewer


class DeathGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead jobs that died of the same thing, as far as they were looked at."""

    death: Death
    count: int
    first_died_ms: int
    last_died_ms: int
    example: JobId  # the one that died last


class Summary(msgspec.Struct, frozen=True):
    """The groups, the largest first, and whether all dead jobs were looked at."""

    groups: list[DeathGroup]
    is_complete: bool


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead jobs were meant, and how many of them wait again; those that were not are passed over."""

    matched: int
    replayed: int = 0
    conflicts: int = 0  # whose unique key another job has by now
    refused: int = 0  # whose payload cannot be what the patch makes of it
    is_complete: bool  # False: there may be more that were meant
    refusals: tuple[Refusal, ...] = ()  # the first of them
    example: Example | None = None  # of a dry run with a patch: what it makes of the first job it can be of


class DeadLetters:
    """The dead jobs of an app that is open."""

    def __init__(self, app: Steering, bulk: Bulk, life: Life) -> None:
        self._app = app
        self._bulk = bulk
        self._life = life
        self._importer = Importer(app, life)

    async def summary(self, **filters: Unpack[JobFilter]) -> Summary:
        """Group dead jobs by what they died of; the filters are those of `list_jobs`, without the status."""
        groups: dict[Death, DeathGroup] = {}
        looked_at = 0
        async for job in walk(self._app, filters):
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                break
            died_ms, death = job.finished_at_ms or job.updated_at_ms, death_of(job)
            known = groups.get(death)
            groups[death] = DeathGroup(
                death=death,
                count=1 if known is None else known.count + 1,
                first_died_ms=died_ms if known is None else min(known.first_died_ms, died_ms),
                last_died_ms=died_ms if known is None else max(known.last_died_ms, died_ms),
                example=job.id if known is None else known.example,
            )
        largest_first = sorted(groups.values(), key=lambda group: (-group.count, -group.last_died_ms))
        return Summary(largest_first, looked_at <= MOST_LOOKED_AT)

    async def replay(
        self,
        *,
        fingerprint: str | None = None,
        patch: object = None,
        limit: int | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> Replayed:
        """Run again at most `limit` (1,000) of the dead jobs meant, the latest death first; with `dry_run` only look.

        With a `patch` (RFC 7396) each comes back with its payload patched, or, where the types of some cannot take
        theirs, none does: raises InvalidPayloadError that names the first.
        """
        selection = Selection(filters, fingerprint, MOST_REPLAYED if limit is None else limit)
        mender = self._mender(patch)
        if dry_run:
            return await self._try(selection, mender)
        if patch is None:
            return await self._bring_back(selection, mender)
        tried = await self._try(selection, mender)
        if tried.refusals:
            first = tried.refusals[0]
            raise InvalidPayloadError(f"job {first.job_id}: {first.error}; nothing was replayed", field=first.field)
        return await self._bring_back(selection, mender)

    def replay_paced(
        self,
        *,
        rate: float,
        fingerprint: str | None = None,
        patch: object = None,
        limit: int | None = None,
        **filters: Unpack[JobFilter],
    ) -> Operation:
        """Begin to run dead jobs again in the background, `rate` a second; all that are meant unless `limit` is given.

        One whose type cannot take its patched payload fails, and stays dead. Raises InvalidRequestError or
        TooManyOperationsError.
        """
        mender = self._mender(patch)
        meant = Meant(self._app, Selection(filters, fingerprint, limit))
        batches = paced(meant, rate=checked_rate(rate), clock=self._life.choices.clock)
        return self._bulk.begin(Action.RETRY, batches, mender.bring_back_each)

    async def export(self, *, fingerprint: str | None = None, **filters: Unpack[JobFilter]) -> AsyncIterator[Job]:
        """Yield the dead jobs that are meant, the latest death first, all of them, a page in memory at a time."""
        async for job in Meant(self._app, Selection(filters, fingerprint)):
            yield job

    async def take_in(self, exported: Exported) -> Taken | GotaskqError:
        """Run a dead job again as an export has it, once however often; return why not where it cannot be.

        One that lies here is replayed as the export has it now; else a new job is stored, and remembered by an
        idempotency key. Raises UnavailableError, after which it may be taken in again.
        """
        return await self._importer.take(exported)

    def _mender(self, patch: object) -> Mender:
        check = self._life.parts.admission.check_payload_of
        return Mender(self._app, None if patch is None else MergePatch(patch), check=check)

    async def _try(self, selection: Selection, mender: Mender) -> Replayed:
        """Say what a replay would do."""
        meant = Meant(self._app, selection)
        matched = refused = 0
        refusals: list[Refusal] = []
        example: Example | None = None
        async for job in meant:
            matched += 1
            refusal = mender.refusal(job)
            if refusal is not None:
                refused += 1
                refusals = [*refusals, refusal][:MAX_ERRORS]
            elif example is None and mender.has_patch:
                example = Example(job.id, Raw(job.payload_json), Raw(mender.patched(job)))
        return Replayed(
            matched=matched,
            refused=refused,
            is_complete=meant.is_complete,
            refusals=tuple(refusals),
            example=example,
        )

    async def _bring_back(self, selection: Selection, mender: Mender) -> Replayed:
        meant = Meant(self._app, selection)
        matched = replayed = conflicts = refused = 0
        async for job in meant:
            matched += 1
            try:
                reason = await mender.bring_back(job)
            except InvalidRequestError:  # it died after the others were tried
                refused += 1
                continue
            replayed += reason is None
            conflicts += reason == CONFLICT
        return Replayed(
            matched=matched, replayed=replayed, conflicts=conflicts, refused=refused, is_complete=meant.is_complete
        )
