"""What users and authors of backends test with: a simulation, a clock moved by hand, a contract written as tests."""

from gotaskq.testing.simulation import Fault, SimProcess, Simulation

__all__ = ["Fault", "SimProcess", "Simulation"]
