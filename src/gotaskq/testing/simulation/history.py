"""What happened in one seed, in order: for the reader of a failure, and to compare two runs of a seed.

Jobs and leases have short names, given as they appear: a run's own ids mean nothing to a reader.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from gotaskq.testing.clock import START_MS

TAIL: Final = 60  # lines of a failing seed that are shown: a few seconds of its life

NowMs: TypeAlias = Callable[[], int]


class Record(NamedTuple):
    """One thing that happened."""

    at_ms: int
    who: str
    what: str
    about: str

    def __str__(self) -> str:
        return f"{(self.at_ms - START_MS) / 1000:9.3f}  {self.who:<6} {self.what:<12} {self.about}"


class History:
    """The records of one seed. Closed at the first violation, so that its cause stands at the end."""

    def __init__(self, now_ms: NowMs) -> None:
        self._now_ms = now_ms
        self._names: dict[object, str] = {}
        self.records: list[Record] = []
        self.is_closed = False

    def add(self, who: str, what: str, about: str = "") -> None:
        """Write one record."""
        if not self.is_closed:
            self.records.append(Record(self._now_ms(), who, what, about))

    def job(self, job_id: int) -> str:
        """Return a job's short name, such as `j3`."""
        return self._names.setdefault(("job", job_id), f"j{len(self._names) + 1}")

    def lease(self, job_id: int, nonce: str) -> str:
        """Return a lease's short name, such as `j3/5c1f`."""
        return f"{self.job(job_id)}/{nonce[:4]}"

    def tail(self, count: int = TAIL) -> str:
        """Return the last records, a line each."""
        return "\n".join(str(record) for record in self.records[-count:])
