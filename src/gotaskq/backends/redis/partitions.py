"""Sharing work out: by the partition of each id, and in calls that stay short."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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


def parcels(items: Sequence[T], bytes_of: Callable[[T], int], *, size: int, most_bytes: int) -> Iterator[list[T]]:
    """Yield the items in order, in pieces of at most `size`; a piece ends with the item that makes it too heavy."""
    parcel: list[T] = []
    weight = 0
    for item in items:
        parcel.append(item)
        weight += bytes_of(item)
        if len(parcel) == size or weight >= most_bytes:
            yield parcel
            parcel, weight = [], 0
    if parcel:
        yield parcel
