"""I11: what a fault held up goes on within a bound, as the handlers' log says.

The bound is what the design promises, with much room: it tells a recovery from one that comes by chance, never a slow
machine from a fast one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.faults.handlers import Run
from tests.faults.history import History
from tests.faults.proxy import Loss

# Stated here, not taken from the code: a reaper that got slow must not be given longer.
REAP_PART: Final = 0.25  # of a lease: the longest pause of a reaper where leases are short
WAKE_S: Final = 1.0  # a worker whom no wake-up reaches looks by itself
LOADED: Final = 3.0  # a machine under load takes a multiple of what is promised ...
STALL_S: Final = 5.0  # ... and now and then stands still


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is over, and how soon what it held up must go on."""

    over_s: float  # on the machine's monotonic clock
    within_s: float
    holder: int | None = None  # the process whose jobs nobody holds any more; None: the store or the network was away


def recovery_s(lease_s: float, *, was_store_away: bool) -> float:
    """Return how long recovery may take: lease, reaping and wake-up, after an outage its grace; generously."""
    grace_s = lease_s if was_store_away else 0.0
    return LOADED * (lease_s + REAP_PART * lease_s + WAKE_S + grace_s) + STALL_S


def late(history: History, runs: Sequence[Run], faults: Sequence[Fault]) -> list[str]:
    """I11: return what did not go on in time, as the handlers' log says; whether it goes on at all is I1's."""
    jobs: dict[int, list[Run]] = {}
    for run in runs:
        jobs.setdefault(run.job_id, []).append(run)
    return [
        f"I11: {what} went on {went_on_s - fault.over_s:.1f} s after {_words(fault)}"
        for fault in faults
        for what, went_on_s in _went_on(fault, jobs, history)
        if went_on_s > fault.over_s + fault.within_s
    ]


def repeated_late(losses: Sequence[Loss]) -> list[str]:
    """I11: return which lost calls were not sent again in time, as the proxy saw it; a repeat waits for no lease.

    Whether a call comes again at all is seen by what it was for.
    """
    within_s = recovery_s(0.0, was_store_away=False)
    return [
        f"I11: {loss.script} was called again {loss.again_s - loss.at_s:.1f} s after its {loss.part} was lost; "
        f"{within_s:.1f} s are enough"
        for loss in losses
        if loss.again_s is not None and loss.again_s > loss.at_s + within_s
    ]


def _words(fault: Fault) -> str:
    what = "the outage" if fault.holder is None else f"process {fault.holder} lost it"
    return f"{what}; {fault.within_s:.1f} s are enough"


def _went_on(fault: Fault, jobs: Mapping[int, Sequence[Run]], history: History) -> Iterator[tuple[str, float]]:
    """Give all that the fault held up and that went on, and when."""
    for job_id, runs in jobs.items():
        went_on_s = _ran_again_s(fault, runs) if fault.holder else _headway_s(fault, runs)
        if went_on_s is not None:
            yield f"job {job_id}", went_on_s
    if fault.holder is None:
        # Of those that waited the first, for the others may wait for a slot.
        waited = [runs[0].started_s for job_id, runs in jobs.items() if history.accepted_by(job_id, fault.over_s)]
        if first_s := min((at_s for at_s in waited if at_s > fault.over_s), default=None):
            yield "the first job that waited", first_s


def _ran_again_s(fault: Fault, runs: Sequence[Run]) -> float | None:
    """Return when a job ran again that the holder had when it was lost."""
    for run, following in pairwise(runs):
        if run.pid == fault.holder and _was_under_way(run, fault.over_s):
            return following.started_s
    return None


def _headway_s(fault: Fault, runs: Sequence[Run]) -> float | None:
    """Return when a job that ran through the end of the outage ended or ran again, whichever came first."""
    if not any(_was_under_way(run, fault.over_s) for run in runs):
        return None
    instants = [at_s for run in runs for at_s in (run.started_s, run.ended_s) if at_s is not None]
    return min((at_s for at_s in instants if at_s > fault.over_s), default=None)


def _was_under_way(run: Run, at_s: float) -> bool:
    return run.started_s <= at_s and (run.ended_s is None or run.ended_s > at_s)
