"""One queue in the hand of whoever steers it: its figures, pause and drain, purge, its settings, its end.

Returned by `TaskQ.queue(name)`; behind `/queues`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from gotaskq.backend import Backend, QueueCounts
from gotaskq.errors import GotaskqError, QueueInUseError, QueueNotFoundError
from gotaskq.governing import Governor, GovernsQueues, QueueStats
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.queue_rules import Change, checked_changes

PURGE_BATCH: Final = 1_000  # so that no purge holds a store, or this loop, for more than a moment


class QueueHandle:
    """One queue, by its name; each method raises QueueNotFoundError where there is no such queue."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self.name = name

    async def stats(self) -> QueueStats:
        """Return its figures."""
        [stats] = await stats_of(self._backend, self.name)
        return stats

    async def pause(self) -> None:
        """Stop giving out its jobs; new ones are still taken."""
        await self._backend.set_paused(self.name, paused=True)

    async def drain(self) -> None:
        """Take no new jobs; those that are there are finished, their retries too."""
        await self._governor.change(self.name, {"is_draining": True})

    async def resume(self) -> None:
        """Give out its jobs again, and take new ones."""
        await self._backend.set_paused(self.name, paused=False)
        if isinstance(self._backend, GovernsQueues):
            await self._backend.governor.change(self.name, {"is_draining": False})

    async def purge(self) -> int:
        """Delete its waiting jobs, due or not, and return how many; what comes in meanwhile may stay."""
        left = (await self._counts()).depth
        purged = 0
        while left > 0:
            gone = await self._governor.purge(self.name, limit=min(left, PURGE_BATCH))
            purged, left = purged + gone, left - (gone or left)
            await asyncio.sleep(0)  # a store in memory waits for nothing: others must get their turn
        return purged

    async def delete(self) -> None:
        """Delete it; raises QueueInUseError where it has jobs, in whatever state, or is the default queue."""
        if self.name == DEFAULT_QUEUE:
            raise QueueInUseError(self.name, "it is where jobs go that name no queue")
        if not await self._governor.delete(self.name):
            raise QueueInUseError(self.name, "it has jobs; drain or purge it, and replay or delete its dead ones")

    async def settings(self) -> dict[str, str | int | float | None]:
        """Return its settings; None where nothing is set, and what holds everywhere holds here."""
        return (await self._governor.rules_of(self.name)).settings()

    async def configure(self, **settings: Change | float) -> dict[str, str | int | float | None]:
        """Set some of its settings, or with None unset them, and return all; raises InvalidRequestError."""
        return await self.change_settings(settings)

    async def change_settings(self, settings: Mapping[str, object]) -> dict[str, str | int | float | None]:
        """Do what `configure` does, with settings that nobody has checked."""
        return (await self._governor.change(self.name, checked_changes(settings))).settings()

    async def _counts(self) -> QueueCounts:
        counts = (await self._backend.queues()).get(self.name)
        if counts is None:
            raise QueueNotFoundError(self.name)
        return counts

    @property
    def _governor(self) -> Governor:
        if not isinstance(self._backend, GovernsQueues):
            raise GotaskqError(f"{type(self._backend).__name__} does not govern queues: it has no `governor`")
        return self._backend.governor


async def stats_of(backend: Backend, *names: str) -> list[QueueStats]:
    """Return the figures of these queues, or of all; raises QueueNotFoundError."""
    counts = await backend.queues()
    if unknown := [name for name in names if name not in counts]:
        raise QueueNotFoundError(unknown[0])
    asked = names or tuple(counts)
    if not isinstance(backend, GovernsQueues):
        return [_stats(name, counts[name], age_ms=0, is_draining=False) for name in asked]
    rules, ages_ms = backend.governor.rules, await backend.governor.ages_ms(asked)
    return [
        _stats(name, counts[name], age_ms=age_ms, is_draining=name in rules and rules[name].is_draining)
        for name, age_ms in zip(asked, ages_ms, strict=True)
    ]


def _stats(name: str, counts: QueueCounts, *, age_ms: int, is_draining: bool) -> QueueStats:
    return QueueStats(
        name=name,
        ready=counts.ready,
        scheduled=counts.scheduled,
        running=counts.running,
        dead=counts.dead,
        depth=counts.depth,
        paused=counts.is_paused,
        latency_seconds=age_ms / 1000,
        draining=is_draining,
    )
