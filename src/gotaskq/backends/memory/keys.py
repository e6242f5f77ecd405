"""The keys of jobs, and which job each stands for.

Invariant: a unique key stands for a job that waits or runs; what an idempotency key stands for may be gone.
"""

from collections import ChainMap
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from gotaskq.backend import Enqueued, EnqueueReply, Existing
from gotaskq.job import Job, JobId
from gotaskq.keys import FoundBy, Keys

MOST_FORGOTTEN: Final = 1_000  # in one call, so that a day's end does not hold the loop


class _Request(NamedTuple):
    """A request that came, and the job that stands for it."""

    job_id: JobId
    fingerprint: str
    until_ms: int


class KeyRing:
    """Keys that are taken."""

    def __init__(self, *, ttl_ms: int, max_requests: int) -> None:
        self._ttl_ms = ttl_ms
        self._room = max_requests  # for requests that have not come yet
        self._holders: MutableMapping[str, JobId] = {}
        self._requests: MutableMapping[str, _Request] = {}  # in the order they came, and so of their end

    def trial(self, *, now_ms: int) -> "KeyRing":
        """Return a copy to try an all-or-nothing call with: what it takes is not taken here."""
        self.forget(now_ms=now_ms)
        return _Trial(self._holders, self._requests, ttl_ms=self._ttl_ms, max_requests=self._room)

    def find(self, keys: Keys, *, now_ms: int) -> EnqueueReply | None:
        """Return what is to be said where one of the keys is taken, else None."""
        if keys.idempotency is not None:
            came = self._requests.get(keys.idempotency.digest)
            if came is not None and came.until_ms > now_ms:
                is_same = came.fingerprint == keys.idempotency.fingerprint
                return Existing(came.job_id, FoundBy.IDEMPOTENCY_KEY) if is_same else Enqueued.KEY_REUSED
            if self._room <= 0:
                self.forget(now_ms=now_ms)
                if self._room <= 0:
                    return Enqueued.KEYS_FULL
        holder = self._holders.get(keys.unique) if keys.unique else None
        return None if holder is None else Existing(holder, FoundBy.UNIQUE_KEY)

    def heed(self, job: Job, reply: EnqueueReply, *, now_ms: int) -> None:
        """Let a job's keys stand for it where it was stored, and its request for the one its unique key found."""
        keys, stands = job.keys, job.id
        if isinstance(reply, Existing) and reply.by is FoundBy.UNIQUE_KEY:
            stands = reply.job_id
        elif reply is not Enqueued.OK:
            return
        elif keys.unique:
            self._holders[keys.unique] = stands
        request = keys.idempotency
        if request is not None:
            # One that is over must not keep its place among the first to end.
            self._room -= self._requests.pop(request.digest, None) is None
            self._requests[request.digest] = _Request(stands, request.fingerprint, now_ms + self._ttl_ms)

    def take_again(self, job: Job) -> bool:
        """Let the unique key of a job that comes back stand for it; False when it stands for another."""
        return not job.unique_key or self._holders.setdefault(job.unique_key, job.id) == job.id

    def let_go(self, job: Job) -> None:
        """Free the unique key of a job that has ended."""
        if self._holders.get(job.unique_key) == job.id:
            del self._holders[job.unique_key]

    def forget(self, *, now_ms: int) -> None:
        """Forget requests that came too long ago, a bounded number of them."""
        for _ in range(MOST_FORGOTTEN):
            oldest = next(iter(self._requests), None)
            if oldest is None or self._requests[oldest].until_ms > now_ms:
                break
            del self._requests[oldest]
            self._room += 1


class _Trial(KeyRing):
    """A copy whose requests are another's to forget."""

    def __init__(
        self,
        holders: MutableMapping[str, JobId],
        requests: MutableMapping[str, _Request],
        *,
        ttl_ms: int,
        max_requests: int,
    ) -> None:
        super().__init__(ttl_ms=ttl_ms, max_requests=max_requests)
        self._holders = ChainMap({}, holders)
        self._requests = ChainMap({}, requests)

    def forget(self, *, now_ms: int) -> None:
        """Leave them."""
