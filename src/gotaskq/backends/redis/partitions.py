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
