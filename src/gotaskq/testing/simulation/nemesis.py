"""Strikes at the processes and the store of a simulation, as a seed's plan says, until it is told to stop."""

from random import Random
from typing import Final, Protocol, assert_never

from gotaskq.testing.simulation.faults import Fault, Plan
from gotaskq.testing.simulation.process import SimProcess

LEASES: Final = (0.1, 3.0)  # how long a process is frozen or cut off, in leases: some come back in time, most do not


class Fleet(Protocol):
    """What the nemesis strikes at."""

    lease_s: float

    def workers(self) -> list[SimProcess]:
        """Return the workers that run."""
        ...

    def processes(self) -> list[SimProcess]:
        """Return all processes that run."""
        ...

    def strike(self, fault: Fault, process: SimProcess, *, for_s: float) -> None:
        """Let a fault hit a process, for a time where it passes."""
        ...

    def restart_store(self, rng: Random) -> None:
        """Bring the store back to an earlier state."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Let time pass."""
        ...


class Nemesis:
    """One blow after the other."""

    def __init__(self, fleet: Fleet, plan: Plan, *, rng: Random) -> None:
        self._fleet = fleet
        self._plan = plan
        self._rng = rng

    async def run(self) -> None:
        """Strike until cancelled."""
        while self._plan.blows:
            await self._fleet.sleep(self._rng.expovariate(1 / self._plan.blow_every_s))
            self._strike(self._rng.choice(self._plan.blows))

    def _strike(self, fault: Fault) -> None:
        fleet, rng = self._fleet, self._rng
        match fault:
            case Fault.RESTART:
                fleet.restart_store(rng)
                return
            case Fault.PARTITION:
                targets = fleet.processes()
            case Fault.FREEZE | Fault.KILL | Fault.STOP:
                targets = fleet.workers()
            case Fault.REFUSE | Fault.DROP | Fault.LOSE_REPLY | Fault.DUPLICATE | Fault.DELAY:
                return  # these hit calls, in the network
            case never:
                assert_never(never)
        if targets:
            fleet.strike(fault, rng.choice(targets), for_s=fleet.lease_s * rng.uniform(*LEASES))
