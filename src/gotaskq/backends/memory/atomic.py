"""An all-or-nothing call, tried before anything of it is stored."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from gotaskq.backend import Enqueued, EnqueueReply, Existing
from gotaskq.backends.memory.keys import KeyRing
from gotaskq.job import Job, JobId
from gotaskq.keys import NO_KEYS

REFUSED: Final = frozenset(
    {
        *(Enqueued.COLLISION, Enqueued.FULL, Enqueued.KEY_REUSED),
        *(Enqueued.KEYS_FULL, Enqueued.NO_QUEUE, Enqueued.TOO_FAST),
    }
)


class Trial:
    """The jobs of one call, judged one after the other as if those before had been stored.

    `check` says what becomes of a job beside so many others on its queue, with these keys taken.
    """

    def __init__(self, check: Callable[[Job, KeyRing, int], EnqueueReply], keys: KeyRing, *, now_ms: int) -> None:
        self._check = check
        self._keys = keys.trial(now_ms=now_ms)
        self._now_ms = now_ms
        self._taken: Counter[str] = Counter()
        self._nonces: dict[JobId, str] = {}  # of the jobs that would have been stored

    def refusals(self, jobs: Sequence[Job]) -> list[EnqueueReply]:
        """Return a reply for each job where one of them cannot be stored beside the others, else nothing."""
        replies = [self._judge(job) for job in jobs]
        return replies if any(reply in REFUSED for reply in replies) else []

    def _judge(self, job: Job) -> EnqueueReply:
        nonce = self._nonces.get(job.id)
        if nonce is not None:  # twice in one call, and so not there
            return Enqueued.WITHHELD if nonce == job.enqueue_nonce else Enqueued.COLLISION
        reply = self._check(job, self._keys, self._taken[job.queue])
        if reply is Enqueued.OK:
            self._nonces[job.id] = job.enqueue_nonce
            self._taken[job.queue] += 1
        if job.keys is not NO_KEYS:
            self._keys.heed(job, reply, now_ms=self._now_ms)
        is_new = reply is Enqueued.OK or (isinstance(reply, Existing) and reply.job_id in self._nonces)
        return Enqueued.WITHHELD if is_new else reply
