"""Context: what a task's function may ask about the attempt it runs in."""

from dataclasses import dataclass

from gotaskq.job import Job


@dataclass(frozen=True, slots=True)
class Context:
    """The attempt that runs: its job, and which attempt this is; a task's first parameter may ask for it."""

    job: Job

    @property
    def attempt(self) -> int:
        """Which attempt at the job this is, from 1."""
        return self.job.attempt
