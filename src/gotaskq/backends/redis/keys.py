"""The names of keys.

All keys of a partition share one hash tag, so in a Cluster they live in one slot and a script may touch them all. The
scripts get the partition's `meta` key and derive the others from it (docs/decisions/0022-keys-derived-in-scripts.md).
"""

from typing import Final

from gotaskq.job import JobId

SCHEMA: Final = 2  # part of every key: a later layout lives beside this one
ID_DIGITS: Final = 20  # as many as any 64-bit number has, so that ids compare as text as they do as numbers

# Behind a partition's `meta`: a key that never exists. Every script names both, so a Cluster that moves the slot key by
# key says TRYAGAIN until all have arrived; else a script would run on the half of the partition that it finds.
NEVER: Final = ":never"

# What follows a partition's number in its tag, found by search: its slot lies in the p-th of 64 equal ranges, counted
# in the order 0, 32, 16, 48, … So the first N partitions, whatever N, are spread evenly over the slots, and every
# master of a Cluster has its share.
_ENDINGS: Final = (
    "ai bx da fj ba ap fs dx dy fr db fi k s fp ea z b d x fy dr bk az fx ds bj nz bs ab fj da p h fr dy ds fx by "
    "ah ar bc y a k s fh dc ds fx ap ba bk az a y bj nz dd fk i q fr dy"
)
TAGS: Final = tuple(f"{partition}{ending}" for partition, ending in enumerate(_ENDINGS.split()))


class Keys:
    """The keys of one store."""

    def __init__(self, prefix: str) -> None:
        self._root = f"{prefix}:{SCHEMA}:"
        self.queues = f"{self._root}queues"  # hash: name → 1 when paused, else 0 (and a mark)
        self.rules = f"{self._root}rules"  # hash: a queue's name, a space and a rule → its value
        self.store = f"{self._root}store"  # hash: what all processes must agree on
        self.wake = f"{self._root}wake"  # channel: a queue that has work again, "!" and a job to cancel, "~" and a log

    def meta(self, partition: int) -> str:
        """Return the key that names a partition; every other key of it begins alike."""
        return f"{self._root}{{{TAGS[partition]}}}:meta"

    def happenings(self, partition: int) -> str:
        """Return the key of the log of what happens, which one partition keeps for all."""
        return f"{self._root}{{{TAGS[partition]}}}:hap"


def member(job_id: JobId) -> str:
    """Return an id as the store writes it."""
    return f"{job_id:020d}"
