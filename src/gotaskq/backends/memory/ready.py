"""The entries of the jobs that are due, the lowest rank first.

Jobs mostly come in the order of their rank within one priority. Then a place is found at the end of a run, and the
lowest entry is at its beginning: a step each, where a heap of a million takes twenty (benchmarks/questions/growth.py).
Invariant: a band's run is ascending; what would break it (a retry, an ordering of another kind) is in its heap.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain, islice
from typing import Final

from gotaskq.policies.ordering import RANK_TIME_BITS

ID_BITS: Final = 63  # an entry is rank << ID_BITS | id
BAND_SHIFT: Final = RANK_TIME_BITS + ID_BITS  # the four bits of a rank above its time: for `PriorityFifo` the priority


class _Band:
    """Entries of neighbouring ranks."""

    __slots__ = ("heap", "run")

    def __init__(self) -> None:
        self.run: deque[int] = deque()
        self.heap: list[int] = []


class ReadyEntries:
    """Entries in bands, of which any in a lower one comes before any in a higher one."""

    __slots__ = ("_bands", "_order")

    def __init__(self) -> None:
        self._bands: dict[int, _Band] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(len(band.run) + len(band.heap) for band in self._bands.values())

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(chain(band.run, band.heap) for band in self._bands.values())

    def push(self, entry: int) -> None:
        """Add an entry."""
        band = self._bands.get(entry >> BAND_SHIFT) or self._new_band(entry >> BAND_SHIFT)
        run = band.run
        if not run or run[-1] <= entry:
            run.append(entry)
        else:
            heappush(band.heap, entry)

    def pop(self, limit: int) -> list[int]:
        """Take at most `limit` of the lowest entries, in order; fewer only where no more are there."""
        popped: list[int] = []
        for place in self._order:
            run, heap = self._bands[place].run, self._bands[place].heap
            while heap and len(popped) < limit:
                popped.append(run.popleft() if run and run[0] < heap[0] else heappop(heap))
            popped += [run.popleft() for _ in range(min(limit - len(popped), len(run)))]
        return popped

    def heads(self, is_stale: Callable[[int], bool]) -> list[int]:
        """Return the lowest entries of each band, of its run and of its heap; stale ones at the head are dropped."""
        heads: list[int] = []
        for band in self._bands.values():
            while band.run and is_stale(band.run[0]):
                band.run.popleft()
            while band.heap and is_stale(band.heap[0]):
                heappop(band.heap)
            heads += [*islice(band.run, 1), *band.heap[:1]]
        return heads

    def count_before(self, entry: int, *, look_at: int) -> tuple[int, bool]:
        """Return how many entries are lower, and whether that is exact: a larger heap is sampled."""
        count, is_exact = 0, True
        for place in self._order:
            band = self._bands[place]
            if place < entry >> BAND_SHIFT:
                count += len(band.run) + len(band.heap)
            elif place == entry >> BAND_SHIFT:
                step = len(band.heap) // look_at + 1
                count += bisect_left(band.run, entry) + step * sum(one < entry for one in band.heap[::step])
                is_exact = step == 1
        return count, is_exact

    def keep(self, is_kept: Callable[[int], bool]) -> None:
        """Drop all other entries."""
        for band in self._bands.values():
            band.run = deque(filter(is_kept, band.run))
            band.heap = list(filter(is_kept, band.heap))
            heapify(band.heap)

    def _new_band(self, place: int) -> _Band:
        insort(self._order, place)
        band = self._bands[place] = _Band()
        return band
