"""The gate before the store: whether a queue that has rules takes a job now, and if not, when to come back.

Asked by admission, for jobs of queues with rules alone. It holds what a process can know without asking the store; how
many jobs may wait, and come in a second, is judged by the store, where no two callers can both take the last place.
"""

from collections.abc import Mapping
from math import ceil
from typing import Final

from msgspec.structs import replace

from gotaskq.engine.rates import FinishRates
from gotaskq.errors import QueueDrainingError, QueueFullError, QueueLateError, QueueRateError, Quota
from gotaskq.governing import Governor
from gotaskq.job import Job, JobId
from gotaskq.policies.ordering import Fifo, Ordering, PriorityFifo
from gotaskq.queue_rules import QueueRules

NO_RULES_ANYWHERE: Final[Mapping[str, QueueRules]] = {}
ORDERINGS: Final[Mapping[str, Ordering]] = {"priority": PriorityFifo(), "fifo": Fifo()}
NOBODY_NAMED_RETRIES: Final = JobId(1)  # the id of a mould whose max_retries is the default; jobs get their own id
SOONEST_S: Final = 1
LATEST_S: Final = 60
UNKNOWN_S: Final = 5  # when nothing has ended here of late: another process may serve the queue


class Gate:
    """What admission asks of the rules of queues."""

    def __init__(self, governor: Governor | None, *, rates: FinishRates | None, max_queue_depth: int) -> None:
        self._governor = governor
        self._rates = rates
        self._max_queue_depth = max_queue_depth
        self.rules = NO_RULES_ANYWHERE if governor is None else governor.rules

    def judge(self, mould: Job, rules: QueueRules, *, rank: int, now_ms: int) -> tuple[Job, int]:
        """Return the mould and the rank of a job of a queue with these rules.

        Raises QueueDrainingError or QueueLateError where it takes none now.
        """
        queue = mould.queue
        if rules.is_draining:
            raise QueueDrainingError(queue)
        if rules.max_age_ms is not None:
            self._check_age(queue, rules.max_age_ms)
        if rules.max_retries is not None and mould.id == NOBODY_NAMED_RETRIES:
            mould = replace(mould, max_retries=rules.max_retries)
        if rules.ordering is not None:
            rank = ORDERINGS[rules.ordering].rank(priority=mould.priority, created_at_ms=now_ms)
        return mould, rank

    def full(self, queue: str) -> QueueFullError:
        """Return the refusal of a job that the store had no room for in this queue."""
        rules = self.rules.get(queue)
        own_depth = None if rules is None else rules.max_depth
        max_depth = self._max_queue_depth if own_depth is None else own_depth
        return QueueFullError(queue, max_depth=max_depth, retry_after_s=self._room_in_s(queue))

    def quota(self, queue: str) -> Quota | None:
        """Return what is left of a queue's rate limit, if it has one."""
        return self._governor.quota(queue) if self._governor is not None and queue in self.rules else None

    def too_fast(self, queue: str) -> QueueRateError:
        """Return the refusal of a job that came too fast for this queue."""
        quota = self.quota(queue)
        if quota is None:  # the limit was unset in this moment
            return QueueRateError(queue, Quota(1, 0, SOONEST_S))
        return QueueRateError(queue, quota._replace(left=0))

    def _check_age(self, queue: str, max_age_ms: int) -> None:
        age_ms = 0 if self._governor is None else self._governor.known_age_ms(queue)
        if age_ms > max_age_ms:
            # Jobs leave in about the order they came, so the excess is gone about when as much time has passed.
            excess_s = ceil((age_ms - max_age_ms) / 1000)
            retry_after_s = max(self._room_in_s(queue), _bounded(excess_s))
            raise QueueLateError(queue, age_ms=age_ms, max_age_ms=max_age_ms, retry_after_s=retry_after_s)

    def _room_in_s(self, queue: str) -> int:
        """Return in how many seconds a place should be free, as fast as jobs of the queue end here."""
        per_second = 0.0 if self._rates is None else self._rates.per_second(queue)
        return _bounded(ceil(1 / per_second)) if per_second > 0 else UNKNOWN_S


def _bounded(seconds: int) -> int:
    return min(max(seconds, SOONEST_S), LATEST_S)
