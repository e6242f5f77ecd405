"""Simulation: a whole fleet in one thread, on virtual time, with faults, the same way for the same seed.

`Simulation` is what users call; `python -m gotaskq.testing.simulation` plays GoTaskQ's own workload.
"""

from gotaskq.testing.simulation.faults import ALL_FAULTS, Fault
from gotaskq.testing.simulation.process import SimProcess
from gotaskq.testing.simulation.simulation import Played, Simulation, SimulationFailedError, Summary

__all__ = ["ALL_FAULTS", "Fault", "Played", "SimProcess", "Simulation", "SimulationFailedError", "Summary"]
