"""Sharing work out: by the partition of each id, and in calls that stay short."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from gotaskq.job import JobId
from gotaskq.snowflake import partition_of

T = TypeVar("T")


def places_of(job_ids: Sequence[JobId]) -> list[tuple[int, list[int]]]:
    """Return, for each partition, where in the sequence its ids stand."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, job_id in enumerate(job_ids):
        places[partition_of(job_id)].append(place)
    return list(places.items())


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in order, in pieces of `size`."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def parcels(places: Sequence[int], weights: Sequence[int], *, size: int, most_bytes: int) -> Sequence[Sequence[int]]:
    """Return places in order, in pieces of at most `size`; a piece ends with the place that makes it too heavy."""
    if sum(weights) < most_bytes:  # as nearly always
        return chunks(places, size)
    cut: list[list[int]] = []
    heaviness = most_bytes
    for place in places:
        if heaviness >= most_bytes or len(cut[-1]) == size:
            cut.append([])
            heaviness = 0
        cut[-1].append(place)
        heaviness += weights[place]
    return cut
