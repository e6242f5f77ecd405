"""How child processes are kept: how many, how long they live, and how they are ended."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

MOST_NICENESS = 19  # of POSIX: above it there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """What an app asks of its child processes; 0 means no limit where nothing else is said."""

    max_children: int = 0  # 0: as many as NUM_WORKERS, so that no slot waits for a child
    max_jobs_per_child: int = 0  # then the child is replaced; bounds what a library leaks with each job
    max_rss_bytes: int = 0  # resident bytes after a job, above which the child is replaced
    memory_limit_bytes: int = 0  # address space (RLIMIT_AS): beyond it a handler gets MemoryError, not the OOM killer
    niceness: int = 10  # how far a child stands back from its worker for the CPU, so that HTTP and leases come first
    grace_s: float = 5.0  # from SIGTERM to SIGKILL: enough to remove temporary files, short for whoever waits
    heartbeat_s: float = 5.0  # a busy child beats too; rare enough to cost nothing
    max_silence_s: float = 0.0  # a child not heard for so long is killed; a C call that holds the GIL is silent as well
    start_timeout_s: float = 60.0  # an interpreter starts in far less than a second; a loaded disk may take long
    first_backoff_s: float = 0.1  # before the start after one that failed; doubles with each
    max_backoff_s: float = 30.0  # tried often enough to see that a repair has worked
    env: Mapping[str, str] | None = None  # None: this process's; else exactly these, to keep secrets from handlers

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"ProcessOptions.{field.name}={value!r}: must be a number of at least 0")
        if self.niceness > MOST_NICENESS:
            raise ValueError(f"ProcessOptions.niceness={self.niceness!r}: must be at most {MOST_NICENESS}")
        if self.heartbeat_s == 0:
            raise ValueError("ProcessOptions.heartbeat_s=0: must be more than 0, or the child does nothing but beat")
        if 0 < self.max_silence_s <= self.heartbeat_s:
            raise ValueError(
                f"ProcessOptions.max_silence_s={self.max_silence_s!r}: must be 0 or more than "
                f"heartbeat_s={self.heartbeat_s!r}, or healthy children are killed"
            )
