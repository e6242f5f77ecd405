"""Fingerprints: which dead jobs died of the same thing.

Two deaths are alike where job type, reason, class of the error and place in the code are: what the error says beside is
mostly about the one job. Invariant: pure; the same death has the same fingerprint in every process and version of ours.
"""

import hashlib
import re
from typing import Final

import msgspec

from gotaskq.job import Job

DIGITS: Final = 16

_FRAME = re.compile(r'^  File "([^"]*)", line \d+, in (\S+)', re.MULTILINE)
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


class Death(msgspec.Struct, frozen=True):
    """What a job died of, without what concerns it alone."""

    job_type: str
    reason: str  # as in `job.death_reason`
    error: str  # the class of the error, or its first word
    place: str  # the file and the function that raised it; empty where no traceback was kept

    @property
    def fingerprint(self) -> str:
        """A short name of it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:DIGITS]


def death_of(job: Job) -> Death:
    """Return what a dead job died of."""
    reason = "" if job.death_reason is None else job.death_reason.value
    return Death(job.type, reason, _class_of(job.error or ""), _place_of(job))


def _class_of(error: str) -> str:
    match = _CLASS.match(error)
    return match[0] if match else ""


def _place_of(job: Job) -> str:
    """Return the innermost frame, without the folder and the line: both change with a deployment."""
    traceback = job.trail.attempts[-1].traceback if job.trail.attempts else ""
    frames = _FRAME.findall(traceback)
    if not frames:
        return ""
    path, function = frames[-1]
    return f"{path.replace(chr(92), '/').rpartition('/')[2]}:{function}"
