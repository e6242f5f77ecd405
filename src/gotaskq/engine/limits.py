"""What the numbers of a request may be; each function raises InvalidRequestError that names the member to blame."""

from typing import Final

from gotaskq.errors import InvalidRequestError
from gotaskq.job import MAX_PRIORITY, MIN_PRIORITY, NO_TIMEOUTS, Timeouts

MAX_DELAY_S: Final = 31_536_000  # a year
MIN_TIMEOUT_S: Final = 0.001
MAX_MAX_RETRIES: Final = 100


def checked_priority(priority: int) -> int:
    """Return a priority from 0 to 10."""
    if type(priority) is not int or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidRequestError("priority must be between 0 and 10", field="priority")
    return priority


def delay_ms(delay_s: float) -> int:
    """Return a delay of at most a year in milliseconds."""
    # `not 0 <= x <= MAX` and not the reverse: NaN must fall on the refusing side.
    if type(delay_s) not in (int, float) or not 0 <= delay_s <= MAX_DELAY_S:
        raise InvalidRequestError(f"delay must be between 0 and {MAX_DELAY_S} seconds", field="delay")
    return round(delay_s * 1000)


def timeouts(timeout_s: float | None, schedule_timeout_s: float | None) -> Timeouts:
    """Return how long a job may run and wait."""
    execution_ms = _timeout_ms(timeout_s, field="timeout")
    schedule_ms = _timeout_ms(schedule_timeout_s, field="schedule_timeout")
    return Timeouts(execution_ms, schedule_ms) if execution_ms or schedule_ms else NO_TIMEOUTS


def _timeout_ms(timeout_s: float | None, *, field: str) -> int:
    if timeout_s is None:
        return 0
    if type(timeout_s) not in (int, float) or not MIN_TIMEOUT_S <= timeout_s <= MAX_DELAY_S:
        raise InvalidRequestError(f"{field} must be between {MIN_TIMEOUT_S} and {MAX_DELAY_S} seconds", field=field)
    return round(timeout_s * 1000)


def checked_retries(max_retries: int) -> int:
    """Return a number of retries from 0 to 100."""
    if type(max_retries) is not int or not 0 <= max_retries <= MAX_MAX_RETRIES:
        raise InvalidRequestError(f"max_retries must be between 0 and {MAX_MAX_RETRIES}", field="max_retries")
    return max_retries
