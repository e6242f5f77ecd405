"""Queue selectors: how the free slots are shared out among the queues.

Asked by the fetcher before each reservation. The backend then goes round: in each round it takes up to `take` jobs
from each queue in the order given, until it has as many as there are free slots or nothing is left.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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
