"""What a handler raises to say what is to become of its job, where neither returning nor failing says it.

Control
├── Retry      this attempt failed; try again, in so many seconds
├── Snooze     not now: call again in so many seconds; no retry is spent (may be returned, too)
├── Cancel     the job shall not be done any more: DEAD at once
└── Discard    the job is of no use, such as for what it asks: DEAD at once
"""

from typing import Final

MAX_DELAY_S: Final = 31_536_000  # a year, as for a job's first run


class Control(Exception):  # noqa: N818 - no error: a handler's way to say what it wants
    """The root of all a handler may say by raising it."""


class Retry(Control):
    """Fail this attempt and run the job again in `delay_s` seconds (None: as its retry policy says).

    A retry is spent; where none is left, the job is DEAD. `reason` is shown as its error; without one, the exception
    that led here is.
    """

    def __init__(self, delay_s: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.delay_s = None if delay_s is None else _checked(delay_s)
        self.reason = reason


class Snooze(Control):
    """Run the job again in `delay_s` seconds; neither a failure nor an attempt."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = _checked(delay_s)
        super().__init__(f"the handler asked to be called again in {delay_s:g} s")


class Cancel(Control):
    """Give the job up: it shall not be done any more. It is DEAD and can be replayed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Discard(Control):
    """Give the job up: it is of no use. It is DEAD and can be replayed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _checked(delay_s: float) -> float:
    if not 0 <= delay_s <= MAX_DELAY_S:
        raise ValueError(f"delay_s is {delay_s!r}; it must be from 0 to {MAX_DELAY_S} seconds")
    return delay_s
