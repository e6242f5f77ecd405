"""A simulated process: what an app is made with, and what can be done to it from outside.

A process that is frozen holds its callbacks until it goes on; one that was killed holds them for ever, so nothing of it
runs again and no `finally` tidies up behind it.
"""

import asyncio
from contextvars import Context
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from gotaskq.backend import Backend
from gotaskq.testing.simulation.loop import PROCESS, Callback, SimClock

if TYPE_CHECKING:
    from gotaskq.app import TaskQ


class Life(Enum):
    """How a process fares."""

    RUNNING = "running"
    FROZEN = "frozen"
    KILLED = "killed"
    ENDED = "ended"


class SimProcess:
    """One process of the simulated fleet. An app factory takes `backend`, `clock` and `rng` from it."""

    backend: Backend

    def __init__(self, name: str, *, clock: SimClock, rng: Random) -> None:
        self.name = name
        self.clock = clock
        self.rng = rng
        self.life = Life.RUNNING
        self.held: list[Callback] = []
        self.context = Context()  # whatever runs in it, and whatever that starts, belongs to this process
        self.context.run(PROCESS.set, self)
        self.stopping = asyncio.Event()
        self.app: TaskQ | None = None
        self.main: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its callbacks run now; those of one that has ended do, so that its last words are heard."""
        return self.life is Life.RUNNING or self.life is Life.ENDED

    @property
    def is_alive(self) -> bool:
        """Whether it may do anything yet."""
        return self.life is Life.RUNNING or self.life is Life.FROZEN
