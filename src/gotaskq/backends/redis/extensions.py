"""Leases as the extend script takes them, in calls that stay short, and its replies."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from gotaskq.backend import Extended
from gotaskq.backends.redis.keys import member
from gotaskq.backends.redis.partitions import chunks, places_of
from gotaskq.job import Lease

EXTEND_LEASES: Final = 256
EXTENDED: Final = {"H": Extended.HELD, "L": Extended.LOST, "C": Extended.CANCEL_REQUESTED}

Extension: TypeAlias = tuple[int, Sequence[int], list[str | int]]


def extensions(leases: Sequence[Lease], *, lease_ms: int) -> Iterator[Extension]:
    """Return for each call its partition, where its leases stand in the sequence, and the script's arguments."""
    for partition, places in places_of([lease.job_id for lease in leases]):
        for some in chunks(places, EXTEND_LEASES):
            parts = [part for place in some for part in (member(leases[place].job_id), leases[place].nonce)]
            yield partition, some, [lease_ms, *parts]


def read_extended(reply: bytes) -> list[Extended]:
    """Return what a reply says of each lease of its call."""
    return [EXTENDED[letter] for letter in reply.decode()]
