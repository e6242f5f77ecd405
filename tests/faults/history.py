"""What the callers of a fault test asked for, and what they were answered: one JSON line an event.

Each job carries a key in its payload, so that the checker can find the jobs of calls whose answer never came.
"""

import json
import threading
import time
from pathlib import Path
from typing import Literal

Kind = Literal["invoke", "ok", "fail", "unknown"]


class History:
    """The record of one test; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("w")
        self._next = 0
        self.accepted: dict[int, str] = {}  # job id → key
        self.accepted_s: dict[int, float] = {}  # job id → when that was known, on the machine's monotonic clock
        self.answers: dict[str, set[int]] = {}  # key → the ids of jobs it was answered with; a request may come again
        self.refused: dict[str, str] = {}  # key → why; definitely not stored
        self.unknown: dict[str, str] = {}  # key → why; stored or not
        self.under_way: set[str] = set()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def accepted_by(self, job_id: int, at_s: float) -> bool:
        """Whether a job was accepted by then."""
        return self.accepted_s.get(job_id, at_s + 1) <= at_s

    def invoke(self, op: str) -> str:
        """Note that a call begins; return the key its job is to carry."""
        with self._lock:
            self._next += 1
            key = f"{op}-{self._next}"
            self.under_way.add(key)
            self._write("invoke", key)
        return key

    def ok(self, key: str, job_id: int) -> None:
        """Note that the job was accepted; again for each time the same request was."""
        with self._lock:
            self.under_way.discard(key)
            self.accepted[job_id] = key
            self.accepted_s.setdefault(job_id, time.monotonic())
            self.answers.setdefault(key, set()).add(job_id)
            self._write("ok", key, id=str(job_id))

    def fail(self, key: str, why: object) -> None:
        """Note that the job was refused for certain."""
        with self._lock:
            self.under_way.discard(key)
            self.refused[key] = str(why)
            self._write("fail", key, why=str(why))

    def lose(self, key: str, why: object) -> None:
        """Note that nobody knows what became of the call."""
        with self._lock:
            self.under_way.discard(key)
            self.unknown[key] = str(why)
            self._write("unknown", key, why=str(why))

    def _write(self, kind: Kind, key: str, **more: str) -> None:
        line = {"at_s": round(time.monotonic(), 4), "kind": kind, "key": key, **more}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def text(self) -> str:
        """Return the end of the record, for a report."""
        return self.path.read_text()[-4_000:]
