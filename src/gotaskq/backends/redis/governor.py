"""Governs the queues of a Redis store: rules that all processes read, and what is done to one queue as a whole.

The rules are in a hash of their own, a field for each: `mail max_depth`. So two operators who change different ones do
not undo each other's work, a process that does not know one passes over it, and older ones see none of it.
Invariant: what this process knows of rules and ages is at most about a second old.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

import msgspec

from gotaskq.backend import QueueCounts
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.keys import Keys
from gotaskq.backends.redis.partitions import chunks
from gotaskq.backends.redis.rate_board import RateBoard
from gotaskq.backends.redis.registry import Registry, pairs
from gotaskq.backends.redis.scripts import Script
from gotaskq.clock import Clock
from gotaskq.errors import QueueNotFoundError, Quota
from gotaskq.job import Job
from gotaskq.queue_rules import NO_RULES, Change, Changes, QueueRules, changed
from gotaskq.store_limits import StoreLimits

AGE_QUEUES: Final = 32  # in one call: sixteen bands each come to about a millisecond of the server
PURGE_JOBS: Final = 500
NONCE_BITS: Final = 96
HEARD_WITHIN_S: Final = 1.1  # after so long no process takes a queue that is gone for one that is there

Counts = Callable[[], Awaitable[Mapping[str, QueueCounts]]]


class RedisGovernor:
    """The rules of the queues by name, and the ages of those that are held to one."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        registry: Registry,
        *,
        counts: Counts,
        limits: StoreLimits,
        partitions: int,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._registry = registry
        self._counts = counts
        self._limits = limits
        self._max_depth = limits.max_queue_depth
        self._partitions = partitions  # that new jobs are spread over
        self._clock = clock
        self._rng = rng
        self.completed_terms: int | str = limits.max_completed_jobs  # as the scripts read them, with each call
        self.dead_terms: int | str = limits.max_dead_jobs
        self._rules: dict[str, QueueRules] = {}
        self._ages_ms: dict[str, int] = {}
        self._rates = RateBoard(self._rules, partitions=partitions)

    @property
    def rules(self) -> Mapping[str, QueueRules]:
        """The rules of the queues that have some, as far as this process knows."""
        return self._rules

    def known_age_ms(self, queue: str) -> int:
        """Return how old the oldest ready job of a queue with a `max_age_ms` was within the last second."""
        return self._ages_ms.get(queue, 0)

    def quota(self, queue: str) -> Quota | None:
        """Return what was left of a queue's rate limit when this process heard of it last."""
        return self._rates.quota(queue, now_ms=self._now_ms())

    def limits(self, jobs: Sequence[Job]) -> int | str:
        """Return the limits of the queues of jobs, as `enqueue.lua` reads them."""
        return spell_limits(self._max_depth, self._rules, jobs, partitions=self._partitions)

    def hear_rates(self, reply: bytes, partition: int) -> None:
        """Read what the enqueue script says of rate limits."""
        self._rates.hear(reply, partition, now_ms=self._now_ms())

    async def refresh(self) -> None:
        """Read what others may have changed."""
        rules = read_rules(pairs(await self._connection.command("HGETALL", self._keys.rules)))
        self._rules.clear()  # the same mapping stays: it is read for every job that comes in
        self._rules.update(rules)
        self._rates.forget()
        self.completed_terms = spell_retention(self._limits.max_completed_jobs, rules, "complete_job_ttl_ms")
        self.dead_terms = spell_retention(self._limits.max_dead_jobs, rules, "dead_job_ttl_ms")
        held = [queue for queue, one in rules.items() if one.max_age_ms is not None]
        self._ages_ms = dict(zip(held, await self.ages_ms(held), strict=True))

    async def rules_of(self, queue: str) -> QueueRules:
        """Return the rules of a queue as the store has them."""
        await self._require(queue)
        names = [f"{queue} {name}" for name in QueueRules.__struct_fields__]
        values = await self._connection.command("HMGET", self._keys.rules, *names)
        found = {name.encode(): value for name, value in zip(names, values, strict=True) if value is not None}
        return read_rules(found).get(queue, NO_RULES)

    async def change(self, queue: str, changes: Changes) -> QueueRules:
        """Set and unset some rules, and return them all."""
        rules = changed(await self.rules_of(queue), changes)
        unset = [f"{queue} {name}" for name, value in changes.items() if _is_unset(value)]
        kept = [(f"{queue} {name}", _spelled(value)) for name, value in changes.items() if not _is_unset(value)]
        if unset:
            await self._connection.command("HDEL", self._keys.rules, *unset)
        if kept:
            await self._connection.command("HSET", self._keys.rules, *(part for pair in kept for part in pair))
        await self.refresh()
        return rules

    async def ages_ms(self, queues: Sequence[str]) -> list[int]:
        """Return for each queue for how long the oldest of its ready jobs has been due."""
        oldest = [0] * len(queues)
        for partition in range(self._registry.partitions):
            for places in chunks(range(len(queues)), AGE_QUEUES):
                ages = await self._run(Script.AGE, partition, *(queues[place] for place in places))
                for place, age_ms in zip(places, ages, strict=True):
                    oldest[place] = max(oldest[place], age_ms)
        return oldest

    async def purge(self, queue: str, *, limit: int) -> int:
        """Delete at most `limit` waiting jobs."""
        await self._require(queue)
        purged = 0
        for partition in range(self._registry.partitions):
            while (wanted := min(limit - purged, PURGE_JOBS)) > 0:
                gone: int = await self._run(Script.PURGE, partition, self._nonce(), queue, wanted)
                purged += gone
                if gone < wanted:
                    break
        return purged

    async def delete(self, queue: str) -> bool:
        """Delete a queue that has no jobs; where one arrives while others do not know of it yet, the queue stays."""
        await self._require(queue)
        if not await self._is_empty(queue):
            return False
        was_paused = self._registry.paused.get(queue, False)
        await self._registry.remove(queue)
        await asyncio.sleep(HEARD_WITHIN_S)
        if await self._has_arrived(queue):
            await self._registry.add(queue)
            await self._registry.set_paused(queue, paused=was_paused)
            return False
        names = [f"{queue} {name}" for name in QueueRules.__struct_fields__]
        await self._connection.command("HDEL", self._keys.rules, *names)
        await self.refresh()
        return True

    async def _is_empty(self, queue: str) -> bool:
        counts = (await self._counts()).get(queue)
        return counts is None or not (counts.depth or counts.running or counts.dead)

    async def _has_arrived(self, queue: str) -> bool:
        """Say whether a queue that is no longer registered has jobs after all."""
        for partition in range(self._registry.partitions):
            if any(await self._run(Script.COUNTS, partition, queue)):
                return True
        return False

    async def _require(self, queue: str) -> None:
        if not await self._registry.knows(queue):
            raise QueueNotFoundError(queue)

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1000)

    def _nonce(self) -> str:
        return f"{self._rng.getrandbits(NONCE_BITS):024x}"

    async def _run(self, script: Script, partition: int, *arguments: str | int) -> Any:
        return await self._connection.run(script, partition, *arguments)


def spell_limits(max_depth: int, rules: Mapping[str, QueueRules], jobs: Sequence[Job], *, partitions: int) -> int | str:
    """Return the limits of the queues of jobs, as `enqueue.lua` reads them; each partition has its share of a rate."""
    if not rules:
        return max_depth
    words = [str(max_depth)]
    for queue in sorted({job.queue for job in jobs}):
        own = rules.get(queue)
        if own is None or (own.max_depth is None and own.rate_limit is None):
            continue
        rate = "" if own.rate_limit is None else f"/{own.rate_limit / partitions:.6f}"
        words.append(f"{queue} {max_depth if own.max_depth is None else own.max_depth}{rate}")
    return " ".join(words)


def spell_retention(
    most: int, rules: Mapping[str, QueueRules], time: Literal["complete_job_ttl_ms", "dead_job_ttl_ms"]
) -> int | str:
    """Return how many jobs that have ended are kept, and of some queues for how long, as the scripts read it."""
    own = {queue: ttl_ms for queue, one in rules.items() if (ttl_ms := getattr(one, time)) is not None}
    return " ".join([str(most), *(f"{queue}={own[queue]}" for queue in sorted(own))]) if own else most


def read_rules(fields: Mapping[bytes, bytes]) -> dict[str, QueueRules]:
    """Return the rules that a store's fields spell; what a later version has written there counts as not set."""
    members: dict[str, dict[str, Any]] = {}
    for field, value in fields.items():
        queue, _, name = field.decode().partition(" ")
        member = _read_member(name, value.decode())
        if member is not None:
            members.setdefault(queue, {})[name] = member
    return {queue: QueueRules(**known) for queue, known in members.items()}


def _is_unset(value: Change) -> bool:
    return value is None or value is False  # and not 0, which is a number of retries


def _spelled(value: Change) -> str:
    return "1" if value is True else str(value)


def _read_member(name: str, value: str) -> Any:
    if name not in QueueRules.__struct_fields__:
        return None
    try:
        return getattr(msgspec.convert({name: value}, QueueRules, strict=False), name)
    except msgspec.ValidationError:
        return None
