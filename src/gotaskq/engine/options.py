"""How one worker runs: what it is given when it is made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker runs; durations in the unit of their names. `queues` None serves them all."""

    name: str
    concurrency: int
    lease_ms: int
    shutdown_timeout_s: float
    max_crashes: int = 3
    queues: frozenset[str] | None = None
    burst: bool = False  # end once nothing is left to run
    max_jobs: int | None = None  # end after so many
    has_real_time: bool = False  # the clock is the machine's, so that threads beside the loop go by it too
