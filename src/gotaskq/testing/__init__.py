"""What users test with: a kit for jobs, a store that fails on demand, a simulation.

Of authors of backends, executors and policies are `gotaskq.testing.conformance` and `gotaskq.testing.clock`; of pytest
is `gotaskq.testing.plugin`. Importing this imports no pytest.
"""

from gotaskq.testing.driving import drain, frozen_clock, lose_worker
from gotaskq.testing.enqueued import assert_enqueued, refute_enqueued
from gotaskq.testing.flaky import FlakyBackend
from gotaskq.testing.simulation import Fault, SimProcess, Simulation
from gotaskq.testing.trial import Trial, run_job

__all__ = [
    "Fault",
    "FlakyBackend",
    "SimProcess",
    "Simulation",
    "Trial",
    "assert_enqueued",
    "drain",
    "frozen_clock",
    "lose_worker",
    "refute_enqueued",
    "run_job",
]
