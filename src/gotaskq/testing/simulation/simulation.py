"""Plays many seeds, and says of the first that fails how to see it again."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from gotaskq.testing.simulation.checker import InvariantError
from gotaskq.testing.simulation.faults import ALL_FAULTS, Fault, Plan, draw_plan
from gotaskq.testing.simulation.history import TAIL, History
from gotaskq.testing.simulation.store import StoreFactory, memory_store
from gotaskq.testing.simulation.workload import enqueue_each_type
from gotaskq.testing.simulation.world import AppFactory, Cast, Client, World

DEFAULT_SEEDS: Final = range(300)


@dataclass(frozen=True, slots=True)
class Played:
    """What one seed came to."""

    seed: int
    plan: Plan
    history: History
    violation: InvariantError | None
    steps: int
    jobs: int
    virtual_s: float


@dataclass(slots=True)
class Summary:
    """What many seeds came to."""

    seeds: int = 0
    steps: int = 0
    jobs: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, played: Played) -> None:
        """Count one more."""
        self.seeds += 1
        self.steps += played.steps
        self.jobs += played.jobs
        self.virtual_s += played.virtual_s

    def __str__(self) -> str:
        return (
            f"{self.seeds} seeds, {self.steps} steps, {self.jobs} jobs, "
            f"{self.virtual_s / 3600:.1f} virtual hours, {self.cpu_s:.1f} s of CPU"
        )


class SimulationFailedError(AssertionError):
    """A seed broke an invariant; the message holds the seed, its faults and the end of its history."""

    def __init__(self, played: Played) -> None:
        super().__init__(
            f"{played.violation}\n"
            f"seed {played.seed}; faults: {played.plan}\n"
            f"its last {TAIL} of {len(played.history.records)} records:\n{played.history.tail()}\n"
            f"see it again with seeds=[{played.seed}] and the same faults, or with --seed {played.seed}"
        )
        self.played = played


class Simulation:
    """Runs an app's workers and clients on simulated processes, time, network and store, once for each seed.

    `app_factory` makes a new TaskQ of the process it is given: with its `backend`, `clock` and `rng`. `client` enqueues
    what the workers shall run; without one, a job of each type the app handles is enqueued again and again.
    """

    def __init__(
        self,
        app_factory: AppFactory,
        *,
        client: Client | None = None,
        seeds: Iterable[int] = DEFAULT_SEEDS,
        faults: Collection[Fault] = ALL_FAULTS,
        workers: int = 2,
        clients: int = 2,
        store: StoreFactory = memory_store,
    ) -> None:
        self._seeds = seeds
        self._faults = faults
        self._cast = Cast(app_factory, client or enqueue_each_type, workers, clients, store)

    def run(self, *, progress: Callable[[Summary], None] | None = None) -> Summary:
        """Play all seeds; raises SimulationFailedError at the first that breaks an invariant."""
        summary = Summary()
        began_s = time.process_time()
        for seed in self._seeds:
            played = self.play(seed)
            summary.add(played)
            summary.cpu_s = time.process_time() - began_s
            if played.violation is not None:
                raise SimulationFailedError(played)
            if progress is not None:
                progress(summary)
        return summary

    def play(self, seed: int) -> Played:
        """Play one seed and return what it came to, well or not."""
        plan = draw_plan(self._faults, Random(f"{seed}/plan"))
        world = World(self._cast, seed=seed, plan=plan)
        world.run()
        return Played(
            seed=seed,
            plan=plan,
            history=world.history,
            violation=world.witness.violation,
            steps=world.loop.steps,
            jobs=len(world.witness.acknowledged),
            virtual_s=world.loop.time(),
        )
