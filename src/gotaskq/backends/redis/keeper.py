"""The upkeep of a store, partition by partition: what is due, what lapsed, what waited too long, what is old.

Used by the backend. Invariant: each call to a server is bounded, whatever there is to do.
"""

from collections.abc import Coroutine
from typing import Any, Final, Protocol

from gotaskq.backends.redis.codec import decode_job, rows_of
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.partitions import chunks
from gotaskq.backends.redis.registry import Registry
from gotaskq.backends.redis.scripts import Script
from gotaskq.job import Job
from gotaskq.store_limits import StoreLayout, StoreLimits

PROMOTE_QUEUES: Final = 128
PRUNE_JOBS: Final = 500


class Terms(Protocol):
    """How many jobs that have ended are kept and, of some queues, for how long, as the scripts read it."""

    @property
    def completed_terms(self) -> int | str:
        """Of DONE and CANCELLED jobs."""
        ...

    @property
    def dead_terms(self) -> int | str:
        """Of DEAD jobs."""
        ...


class Keeper:
    """Keeps the partitions of one store."""

    def __init__(
        self, connection: Connection, registry: Registry, limits: StoreLimits, layout: StoreLayout, terms: Terms
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._limits = limits
        self._terms = terms
        self._layout = layout

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready; return how many."""
        promoted = 0
        for partition in range(self._registry.partitions):
            for some in chunks(list(self._registry.paused), PROMOTE_QUEUES):
                if promoted < limit:
                    promoted += await self._run(Script.PROMOTE, partition, limit - promoted, *some)
        return promoted

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out, but for a while after an outage."""
        limits = (self._layout.outage_grace_ms, self._terms.completed_terms, self._terms.dead_terms)
        reaped: list[Job] = []
        for partition in range(self._registry.partitions):
            if len(reaped) < limit:
                reply = await self._run(Script.REAP, partition, limit - len(reaped), max_crashes, *limits)
                reaped += [job for row in rows_of(reply) if (job := decode_job(row)) is not None]
        return reaped

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for longer than their schedule timeout."""
        expired: list[Job] = []
        for partition in range(self._registry.partitions):
            if len(expired) < limit:
                wanted = limit - len(expired)
                reply = await self._run(Script.EXPIRE, partition, wanted, self._terms.dead_terms)
                expired += [job for row in rows_of(reply) if (job := decode_job(row)) is not None]
        return expired

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention; return how many."""
        ttls = (self._limits.complete_job_ttl_ms, self._limits.dead_job_ttl_ms)
        pruned = 0
        for partition in range(self._registry.partitions):
            while (wanted := min(limit - pruned, PRUNE_JOBS)) > 0:
                gone, passed = await self._run(Script.PRUNE, partition, wanted, *ttls)
                pruned += gone
                if gone + passed < wanted:
                    break
        return pruned

    def _run(self, script: Script, partition: int, *arguments: str | bytes | int) -> Coroutine[Any, Any, Any]:
        return self._connection.run(script, partition, *arguments)
