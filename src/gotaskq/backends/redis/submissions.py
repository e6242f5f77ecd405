"""New jobs as the enqueue script takes them, and its replies.

A job: id, queue, terms, record. A reply: a letter, and behind some the id of the job that is there; behind all of them
what is left of rate limits, in lines.
"""

from typing import Final, TypeAlias

from gotaskq.backend import Enqueued, EnqueueReply, Existing
from gotaskq.backends.redis.codec import encode_record
from gotaskq.backends.redis.keys import ID_DIGITS, member
from gotaskq.job import Job, JobId
from gotaskq.keys import NO_KEYS, FoundBy

Arguments: TypeAlias = tuple[str, str, str | int, bytes]

ENQUEUED: Final = {
    ord("O"): Enqueued.OK,
    ord("D"): Enqueued.DUPLICATE,
    ord("C"): Enqueued.COLLISION,
    ord("F"): Enqueued.FULL,
    ord("T"): Enqueued.TOO_FAST,
    ord("N"): Enqueued.NO_QUEUE,
    ord("W"): Enqueued.WITHHELD,
    ord("M"): Enqueued.KEY_REUSED,
}
FOUND: Final = {ord("R"): FoundBy.IDEMPOTENCY_KEY, ord("E"): FoundBy.UNIQUE_KEY}


def submission_arguments(job: Job, *, is_known: bool, idempotency_ttl_ms: int) -> Arguments:
    """Return the four arguments of a job, on a queue that is known to be registered or not."""
    schedule_ms = job.timeouts.schedule_ms
    terms: str | int = f"{job.delay_ms} {schedule_ms}" if schedule_ms else job.delay_ms
    if job.keys is not NO_KEYS:
        request = job.keys.idempotency
        digest, fingerprint = ("", "") if request is None else (request.digest, request.fingerprint)
        terms = f"{terms}\t{job.unique_key}\t{digest}\t{fingerprint}\t{idempotency_ttl_ms}"
    return member(job.id), job.queue if is_known else "", terms, encode_record(job)


def is_plain(job: Job) -> bool:
    """Say whether a job is one for `enqueue_one`: due at once, for ever, and without keys."""
    return not job.delay_ms and job.keys is NO_KEYS and not job.timeouts.schedule_ms


def read_enqueued(reply: bytes, count: int) -> list[EnqueueReply]:
    """Return what a reply says of each of the `count` jobs of its call."""
    if len(reply) == count:  # nobody is there before, as nearly always
        return [ENQUEUED[letter] for letter in reply]
    reply = reply.partition(b"\n")[0]
    replies: list[EnqueueReply] = []
    place = 0
    while place < len(reply):
        found_by = FOUND.get(reply[place])
        if found_by is None:
            replies.append(ENQUEUED[reply[place]])
            place += 1
        else:
            replies.append(Existing(JobId(int(reply[place + 1 : place + 1 + ID_DIGITS])), found_by))
            place += 1 + ID_DIGITS
    return replies
