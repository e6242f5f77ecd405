"""A store that is away when the test says so."""

import asyncio
from collections.abc import Sequence
from random import Random

from gotaskq.backend import Extended, Note, Settled
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.errors import BackendUnavailableError
from gotaskq.outcome import Settlement


class AwayBackend(MemoryBackend):
    """Takes no reports and no settlements while it is away; remembers in which order it took them."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock, rng=Random(1))
        self.is_away = False
        self.failing_notes = 0  # how many calls fail before one succeeds
        self.taken: list[Note | Settlement] = []

    @property
    def settled(self) -> list[Settlement]:
        """What was settled, in order."""
        return [taken for taken in self.taken if not isinstance(taken, Note)]

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        await asyncio.sleep(0)
        self.failing_notes -= 1
        if self.is_away or self.failing_notes >= 0:
            raise BackendUnavailableError("away")
        self.taken += notes
        return await super().note(notes)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        await asyncio.sleep(0)
        if self.is_away:
            raise BackendUnavailableError("away")
        self.taken += settlements
        return await super().settle(settlements)
