"""When a process has served long enough: after so many jobs, of a certain age, or grown too large.

Asked by the server for a process that runs jobs; it then drains and ends with exit code 0, and whoever supervises it
starts another. A remedy for what leaks memory or connections in handlers and their libraries.
Invariant: no limit is exceeded on purpose; each process draws its own, a little lower, so that not all end at once.
"""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random
from typing import Final, Self

from gotaskq.clock import Clock
from gotaskq.config import Settings
from gotaskq.errors import ConfigError
from gotaskq.kinds import format_size

SPREAD: Final = 0.1  # a limit is drawn from so far below it up to it
LOOK_EVERY_S: Final = 5.0  # one small read; memory that grows faster than this is beyond our help
STATM: Final = Path("/proc/self/statm")  # Linux: sizes in pages, the second is what is resident

MIB: Final = 1 << 20


def resident_bytes() -> int:
    """Return how much memory this process holds; where the system does not tell, the most it ever held."""
    try:
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one process serves; None is no limit."""

    max_jobs: int | None = None
    max_rss_bytes: int | None = None
    max_age_s: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits that an operator has set."""
        return cls(settings.max_jobs or None, settings.max_rss_bytes or None, settings.max_age_ms / 1000 or None)

    def drawn(self, rng: Random) -> "Limits":
        """Return the limits of one process, each up to a tenth lower."""

        def share() -> float:
            return rng.uniform(1 - SPREAD, 1)

        return Limits(
            self.max_jobs and ceil(self.max_jobs * share()),
            self.max_rss_bytes and int(self.max_rss_bytes * share()),
            self.max_age_s and self.max_age_s * share(),
        )

    def __bool__(self) -> bool:
        """Say whether there is any limit."""
        return (self.max_jobs, self.max_rss_bytes, self.max_age_s) != (None, None, None)


def refuse_small_rss(limits: Limits, *, rss_bytes: int) -> None:
    """Raise ConfigError when a process would end before its first job, and so would the next one."""
    limit = limits.max_rss_bytes
    if limit is not None and rss_bytes >= limit * (1 - SPREAD):
        least = format_size(ceil(rss_bytes / (1 - SPREAD) / MIB) * MIB)
        raise ConfigError("MAX_RSS", format_size(limit), f"more than {least}: so much is held before the first job")


class Recycling:
    """Looks every now and then whether a process has reached its limits of age or memory."""

    def __init__(
        self, limits: Limits, *, clock: Clock, read_rss: Callable[[], int], is_kept: Callable[[], bool]
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._read_rss = read_rss
        self._is_kept = is_kept
        self._began_s = clock.monotonic_s()

    async def due(self) -> str:
        """Return which limit was reached, as soon as one is and nobody keeps the process."""
        while True:
            await self._clock.sleep(self._pause_s())
            reached = None if self._is_kept() else self._reached()
            if reached is not None:
                return reached

    def _pause_s(self) -> float:
        """Return how long to wait for the next look: until the end of its age, when that is sooner."""
        max_age_s = self._limits.max_age_s
        left_s = LOOK_EVERY_S if max_age_s is None else max_age_s - self._age_s()
        return min(left_s, LOOK_EVERY_S) if left_s > 0 else LOOK_EVERY_S

    def _reached(self) -> str | None:
        limits = self._limits
        if limits.max_age_s is not None and self._age_s() >= limits.max_age_s:
            return "MAX_AGE"
        if limits.max_rss_bytes is not None and self._read_rss() >= limits.max_rss_bytes:
            return "MAX_RSS"
        return None

    def _age_s(self) -> float:
        return self._clock.monotonic_s() - self._began_s
