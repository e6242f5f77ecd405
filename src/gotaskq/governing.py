"""The contract of a store whose queues can be governed one by one: their rules, their oldest ready jobs, their end.

Beside the rest of `backend`: a store without it still serves jobs. What a method means, to the letter, is written as
tests in `gotaskq.testing.conformance.governing`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from gotaskq.errors import Quota
from gotaskq.queue_rules import Changes, QueueRules


class QueueStats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of a queue, flat and in the units of the API."""

    name: str
    ready: int
    scheduled: int
    running: int
    dead: int
    depth: int
    paused: bool
    latency_seconds: float  # for how long the oldest ready job has been due
    draining: bool = False


class Governor(Protocol):
    """What governs the queues of one store. Each call is safe to repeat; its errors are those of a Backend."""

    @property
    def rules(self) -> Mapping[str, QueueRules]:
        """The rules of the queues that have some, as far as this process knows: within a second, of any process.

        One mapping, kept up to date: it is read for every job that comes in.
        """
        ...

    def known_age_ms(self, queue: str) -> int:
        """Return how old the oldest ready job of a queue with a `max_age_ms` is, as far as this process knows."""
        ...

    def quota(self, queue: str) -> Quota | None:
        """Return what is left of a queue's rate limit, as of the last enqueue that this process heard of.

        The store itself judges by it, for all who enqueue together. None where it has none, or nothing is known yet.
        """
        ...

    async def rules_of(self, queue: str) -> QueueRules:
        """Return the rules of a queue as the store has them; raises QueueNotFoundError."""
        ...

    async def change(self, queue: str, changes: Changes) -> QueueRules:
        """Set and unset some rules, leave the others, and return them all; raises QueueNotFoundError."""
        ...

    async def ages_ms(self, queues: Sequence[str]) -> list[int]:
        """Return for each queue for how long the oldest of its ready jobs has been due; 0 where none is ready.

        Looks at the job that is next in each priority, so at a bounded number: in a queue whose order follows age, one
        of them is the oldest.
        """
        ...

    async def purge(self, queue: str, *, limit: int) -> int:
        """Delete at most `limit` waiting jobs, due or not, and return how many; raises QueueNotFoundError."""
        ...

    async def delete(self, queue: str) -> bool:
        """Delete a queue that has no jobs, with its rules; False when it has some. Raises QueueNotFoundError."""
        ...


@runtime_checkable
class GovernsQueues(Protocol):
    """What a backend offers beside the rest when its queues can be governed one by one."""

    @property
    def governor(self) -> Governor:
        """What governs them."""
        ...
