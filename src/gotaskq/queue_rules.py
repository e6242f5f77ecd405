"""What an operator may set for one queue, and the check of it: one rule for HTTP, the library and the stores.

Invariant: a member that is None leaves the matter to the job, its type, or the settings of the process.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from gotaskq.errors import InvalidRequestError

Change: TypeAlias = str | int | bool | None
Changes: TypeAlias = Mapping[str, Change]  # members of QueueRules to set, or with None to unset

MAX_DEPTH: Final = 100_000_000
MAX_RATE: Final = 1_000_000
MAX_RETRIES: Final = 100
MAX_SECONDS: Final = 31_536_000
LEAST_KEPT_S: Final = 5  # longer than an enqueue is sent again whose reply was lost: a job that is gone would run anew
MOST_KEPT_S: Final = 315_360_000
ORDERINGS: Final = ("priority", "fifo")

# Setting → the member that holds it in milliseconds; what is set is in seconds, as everywhere in the API.
IN_SECONDS: Final = {
    "max_age": "max_age_ms",
    "base_delay": "base_delay_ms",
    "max_delay": "max_delay_ms",
    "complete_job_ttl": "complete_job_ttl_ms",
    "dead_job_ttl": "dead_job_ttl_ms",
}
SECONDS: Final[Mapping[str, tuple[float, int]]] = {
    **dict.fromkeys(("max_age", "base_delay", "max_delay"), (0.001, MAX_SECONDS)),
    **dict.fromkeys(("complete_job_ttl", "dead_job_ttl"), (LEAST_KEPT_S, MOST_KEPT_S)),
}
COUNTS: Final = {"max_depth": (1, MAX_DEPTH), "rate_limit": (1, MAX_RATE), "max_retries": (0, MAX_RETRIES)}
SETTINGS: Final = (
    *("ordering", "max_depth", "max_age", "rate_limit", "max_retries", "base_delay", "max_delay"),
    *("complete_job_ttl", "dead_job_ttl"),
)


class QueueRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the jobs of one queue."""

    is_draining: bool = False  # no new jobs are taken; those that are there are finished
    ordering: Literal["priority", "fifo"] | None = None  # of jobs that come in from now on
    max_depth: int | None = None  # waiting jobs
    max_age_ms: int | None = None  # of the oldest ready job
    rate_limit: int | None = None  # new jobs a second
    max_retries: int | None = None  # of jobs that do not say, and whose types do not
    base_delay_ms: int | None = None  # of the backoff, for types without a policy of their own
    max_delay_ms: int | None = None
    complete_job_ttl_ms: int | None = None  # of jobs that are DONE or CANCELLED from now on
    dead_job_ttl_ms: int | None = None  # of jobs that die from now on

    def settings(self) -> dict[str, str | int | float | None]:
        """Return what is set, in the words and units it is set in."""
        seconds = {name: _seconds(getattr(self, member)) for name, member in IN_SECONDS.items()}
        return {name: seconds[name] if name in seconds else getattr(self, name) for name in SETTINGS}


NO_RULES: Final = QueueRules()


def checked_changes(settings: Mapping[str, object]) -> Changes:
    """Return the members of QueueRules that these settings change; raises InvalidRequestError naming the first bad."""
    changes: dict[str, Change] = {}
    for name, value in settings.items():
        if name not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise InvalidRequestError(f"a queue has no setting {name[:64]!r}; it has {known}", field=name[:64])
        if value is None:
            changes[IN_SECONDS.get(name, name)] = None
        elif name in IN_SECONDS:
            changes[IN_SECONDS[name]] = _milliseconds(name, value)
        elif name in COUNTS:
            changes[name] = _count(name, value)
        else:
            changes[name] = _ordering(value)
    return changes


def changed(rules: QueueRules, changes: Changes) -> QueueRules:
    """Return the rules with the changes made; raises InvalidRequestError where they contradict each other."""
    new = msgspec.structs.replace(rules, **changes)
    if new.base_delay_ms is not None and new.max_delay_ms is not None and new.base_delay_ms > new.max_delay_ms:
        raise InvalidRequestError("base_delay must not be above max_delay", field="base_delay")
    return new


def _ordering(value: object) -> str:
    if value not in ORDERINGS:
        raise InvalidRequestError(f"ordering must be {' or '.join(ORDERINGS)}", field="ordering")
    return str(value)


def _count(name: str, value: object) -> int:
    least, most = COUNTS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(f"{name} must be a whole number between {least} and {most}", field=name)
    return value


def _milliseconds(name: str, value: object) -> int:
    least, most = SECONDS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidRequestError(f"{name} must be between {least} and {most} seconds", field=name)
    return round(value * 1000)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
