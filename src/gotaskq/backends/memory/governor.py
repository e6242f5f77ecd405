"""Governs the queues of the memory backend."""

from collections.abc import Callable, Mapping, Sequence

from gotaskq.backends.memory.keys import KeyRing
from gotaskq.backends.memory.patience import Patience
from gotaskq.backends.memory.waiting import WaitingQueue
from gotaskq.errors import QueueNotFoundError, Quota
from gotaskq.job import Job, JobId
from gotaskq.queue_rules import NO_RULES, Changes, QueueRules, changed
from gotaskq.token_bucket import TokenBucket


class MemoryGovernor:
    """The rules of the queues, and what is done to one of them as a whole."""

    def __init__(
        self,
        queues: dict[str, WaitingQueue],
        jobs: dict[JobId, Job],
        patience: Patience,
        keys: KeyRing,
        rules: dict[str, QueueRules],
        *,
        max_depth: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._queues = queues
        self._jobs = jobs
        self._patience = patience
        self._keys = keys
        self._max_depth = max_depth
        self._now_ms = now_ms
        self._rules = rules

    @property
    def rules(self) -> Mapping[str, QueueRules]:
        """The rules of the queues that have some."""
        return self._rules

    def known_age_ms(self, queue: str) -> int:
        """Return how old the oldest ready job of a queue is."""
        waiting = self._queues.get(queue)
        return 0 if waiting is None else waiting.age_ms(self._jobs, now_ms=self._now_ms())

    def quota(self, queue: str) -> Quota | None:
        """Return what is left of a queue's rate limit, if it has one."""
        waiting = self._queues.get(queue)
        return None if waiting is None or waiting.rate is None else waiting.rate.quota(self._now_ms())

    async def rules_of(self, queue: str) -> QueueRules:
        """Return the rules of a queue."""
        self._queue(queue)
        return self._rules.get(queue, NO_RULES)

    async def change(self, queue: str, changes: Changes) -> QueueRules:
        """Set and unset some rules, and return them all."""
        waiting = self._queue(queue)
        rules = changed(self._rules.get(queue, NO_RULES), changes)
        self._rules[queue] = rules
        if rules == NO_RULES:
            del self._rules[queue]
        waiting.max_depth = self._max_depth if rules.max_depth is None else rules.max_depth
        if rules.rate_limit is None:
            waiting.rate = None
        elif waiting.rate is None or waiting.rate.per_second != rules.rate_limit:
            waiting.rate = TokenBucket(rules.rate_limit, at_ms=self._now_ms())
        return rules

    async def ages_ms(self, queues: Sequence[str]) -> list[int]:
        """Return for each queue for how long the oldest of its ready jobs has been due."""
        return [self.known_age_ms(queue) for queue in queues]

    async def purge(self, queue: str, *, limit: int) -> int:
        """Delete at most `limit` waiting jobs."""
        purged = self._queue(queue).purge(limit=limit)
        for job_id in purged:
            self._keys.let_go(self._jobs.pop(job_id))
            self._patience.forget(job_id)
        return len(purged)

    async def delete(self, queue: str) -> bool:
        """Delete a queue that has no jobs."""
        waiting = self._queue(queue)
        if waiting.ready or waiting.scheduled or waiting.running or waiting.dead:
            return False
        del self._queues[queue]
        self._rules.pop(queue, None)
        return True

    def _queue(self, name: str) -> WaitingQueue:
        waiting = self._queues.get(name)
        if waiting is None:
            raise QueueNotFoundError(name)
        return waiting
