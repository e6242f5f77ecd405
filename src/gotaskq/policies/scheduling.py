"""Queue selectors: how the free slots are shared out among the queues.

Asked by the fetcher before each reservation. The backend then goes round: in each round it takes up to `take` jobs
from each queue in the order given, until it has as many as there are free slots or nothing is left.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

ALL: Final = 1_000_000  # a turn no reservation is long enough to end


class Turn(NamedTuple):
    """A queue's turn in a round: take at most `take` jobs from it before the next queue has its turn."""

    queue: str
    take: int


class QueueSelector(Protocol):
    """Says in which order the queues have their turns, and how long each turn is."""

    def order(self, queues: tuple[str, ...]) -> Sequence[Turn]:
        """Return one turn for each of the queues, every queue once."""
        ...

    def served(self, queue: str) -> None:
        """Hear which queue the last job of a reservation came from."""
        ...


class RoundRobin:
    """One job from each queue in turn, beginning behind the queue that was served last."""

    def __init__(self) -> None:
        self._queues: tuple[str, ...] = ()
        self._turns: list[Turn] = []  # twice round, so that every rotation is one slice
        self._places: dict[str, int] = {}
        self._next = 0
        self._last: str | None = None

    def order(self, queues: tuple[str, ...]) -> Sequence[Turn]:
        """Return the queues, each with a turn of one job, beginning behind the last one served."""
        if queues is not self._queues:  # the fetcher passes the same tuple until a queue is added
            self._remember(queues)
        return self._turns[self._next : self._next + len(queues)]

    def served(self, queue: str) -> None:
        """Begin the next order behind this queue."""
        if queue in self._places:
            self._last = queue
            self._next = (self._places[queue] + 1) % len(self._queues)

    def _remember(self, queues: tuple[str, ...]) -> None:
        self._queues = queues
        self._turns = [Turn(queue, 1) for queue in queues] * 2
        self._places = {queue: place for place, queue in enumerate(queues)}
        self._next = (self._places[self._last] + 1) % len(queues) if self._last in self._places else 0


class StrictPriority:
    """Every due job of the first queue before any of the second, and so on; queues not named come last, one job each.

    A queue can starve: that is what is asked for.
    """

    def __init__(self, *queues: str) -> None:
        self._ranks = {queue: rank for rank, queue in enumerate(queues)}

    def order(self, queues: tuple[str, ...]) -> Sequence[Turn]:
        """Return the queues in the order they were named, then the others."""
        named = sorted((queue for queue in queues if queue in self._ranks), key=self._ranks.__getitem__)
        return [Turn(queue, ALL) for queue in named] + [Turn(queue, 1) for queue in queues if queue not in self._ranks]

    def served(self, queue: str) -> None:
        """Do nothing: what was served does not change who is first."""


class Weighted:
    """Shares by weight: while all have jobs, a queue of weight 5 has five jobs run for each one of a queue of weight 1.

    A round takes as many jobs from each queue as its weight. Where free slots are few, what counts is who begins:
    smooth weighted turns let a queue begin as often as its weight says. So the shares are exact where a reservation is
    for one job or for many; in between, heavy queues get somewhat more. A queue without a weight has 1.
    No queue starves: in as many reservations as the weights add up to, each begins at least once.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._queues: tuple[str, ...] = ()
        self._credits: dict[str, int] = {}
        self._turns: list[Turn] = []

    def order(self, queues: tuple[str, ...]) -> Sequence[Turn]:
        """Return the queues, the one with the most credit first, each with a turn as long as its weight."""
        if queues is not self._queues:  # the fetcher passes the same tuple until a queue is added
            self._queues = queues
            self._credits = {queue: self._credits.get(queue, self._weight(queue)) for queue in queues}
            self._sort()
        return self._turns

    def served(self, queue: str) -> None:
        """Let the queue that was to begin pay, whoever had jobs: an empty one must not save up its turns."""
        if not self._turns:
            return
        first = self._turns[0].queue
        for name in self._queues:
            weight = self._weight(name)
            self._credits[name] += weight
            self._credits[first] -= weight
        self._sort()

    def _weight(self, queue: str) -> int:
        return self._weights.get(queue, 1)

    def _sort(self) -> None:
        ranked = sorted(self._queues, key=self._credits.__getitem__, reverse=True)
        self._turns = [Turn(queue, self._weight(queue)) for queue in ranked]
