"""Snowflake ids: 63 bits, positive, in order of time, unique without any machine id to configure.

Layout: 41 bits of milliseconds since 2026-01-01T00:00:00Z | 6 bits of partition | 16 bits of sequence.
The sequence starts at a random value and runs on from millisecond to millisecond, so two processes rarely meet; where
they do, the store refuses the id (it is there under another nonce) and admission draws a new one.
"""

import logging
from random import Random
from typing import Final

from gotaskq.job import JobId

EPOCH_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SEQUENCE_BITS: Final = 16
PARTITION_BITS: Final = 6
TIME_SHIFT: Final = SEQUENCE_BITS + PARTITION_BITS
BEYOND_IDS: Final = 1 << 63
IDS_PER_MS: Final = 1 << SEQUENCE_BITS
SEQUENCE_MASK: Final = IDS_PER_MS - 1
TOLERATED_STEP_BACK_MS: Final = 50  # what time synchronisation does every day; more deserves a line in the log

logger = logging.getLogger(__name__)


class SnowflakeIds:
    """Draws ids that go up strictly, and so never repeat within this generator.

    A clock that steps back changes nothing: the generator keeps counting from the last instant it used, and warns when
    the step is larger than 50 ms. Where the sequence begins anew within a millisecond, the ids go on in the next, so
    one millisecond never has more than 65,536.
    """

    def __init__(self, rng: Random, *, partition: int = 0) -> None:
        self._partition_bits = partition << SEQUENCE_BITS
        self._instant_ms = 0
        self._last = self._partition_bits | rng.getrandbits(SEQUENCE_BITS)
        self._drawn_at_ms = 0  # the caller's instant of the last draw
        self._has_warned = False

    def draw(self, now_ms: int) -> JobId:
        """Return the next id for the instant `now_ms`."""
        following = self._last + 1
        if now_ms != self._drawn_at_ms or not following & SEQUENCE_MASK:
            following = self._go_on(now_ms)
        self._last = following
        return following  # type: ignore[return-value]  # a NewType costs a call, for each job

    def _go_on(self, now_ms: int) -> int:
        """Return the next id where the instant changes: it is another one, or the sequence begins anew."""
        instant_ms = now_ms - EPOCH_MS
        sequence = (self._last + 1) & SEQUENCE_MASK
        if instant_ms > self._instant_ms:
            self._instant_ms = instant_ms
            self._has_warned = False
        else:
            if sequence == 0:
                self._instant_ms += 1
            if instant_ms < self._instant_ms - TOLERATED_STEP_BACK_MS and not self._has_warned:
                self._warn_of_step_back(now_ms)
        self._drawn_at_ms = now_ms
        return self._instant_ms << TIME_SHIFT | self._partition_bits | sequence

    def _warn_of_step_back(self, now_ms: int) -> None:
        self._has_warned = True
        behind_ms = self._instant_ms + EPOCH_MS - now_ms
        logger.warning("the clock stepped back by %d ms; ids go on from the last instant used", behind_ms)


class SpreadIds:
    """Draws ids of several partitions: all of one until `turn`, then of the next, so that a batch stays together."""

    def __init__(self, rng: Random, *, partitions: int) -> None:
        self._generators = [SnowflakeIds(rng, partition=partition) for partition in range(partitions)]
        self._turn = 0

    def draw(self, now_ms: int) -> JobId:
        """Return the next id of the partition whose turn it is, for the instant `now_ms`."""
        return self._generators[self._turn].draw(now_ms)

    def draw_in(self, partition: int, now_ms: int) -> JobId:
        """Return the next id of this partition, whoever's turn it is."""
        return self._generators[partition].draw(now_ms)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return len(self._generators)

    def turn(self) -> None:
        """Go on to the next partition."""
        self._turn = (self._turn + 1) % len(self._generators)


def created_at_ms(job_id: JobId) -> int:
    """Return the instant an id was drawn at, in milliseconds since 1970."""
    return (job_id >> TIME_SHIFT) + EPOCH_MS


def first_id(instant_ms: int) -> JobId:
    """Return the lowest id that can be drawn at an instant or later; the inverse of `created_at_ms`."""
    return JobId(min(max(instant_ms - EPOCH_MS, 0) << TIME_SHIFT, BEYOND_IDS))


def partition_of(job_id: JobId) -> int:
    """Return the partition (0 to 63) an id belongs to."""
    return job_id >> SEQUENCE_BITS & ((1 << PARTITION_BITS) - 1)
