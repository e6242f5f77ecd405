"""Logs: how lines look, and the observer that writes one per event of a job.

Only the server configures logging; an embedded app logs to whatever its program has set up.
Invariant: one line a record, control characters escaped; never a payload, never a secret.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Final, TextIO, get_args

from gotaskq.events import (
    Event,
    JobDied,
    JobProgressed,
    JobReleased,
    JobRetryScheduled,
    JobsLost,
    JobSnoozed,
    LeaseLapsed,
    LeaseLost,
    LoopStalled,
    Observer,
    QueueCreated,
)
from gotaskq.job import Job

# What every LogRecord has by itself; the rest came with `extra` and are the fields of our line.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


logger = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; everything outside ASCII is escaped, so no value can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=repr, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, event, and the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, with the traceback below it where there is one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{at} {record.levelname.lower():7} {_one_line(record.getMessage())}{fields}"
        return line + _indented(self.formatException(record.exc_info)) if record.exc_info else line


def configure_logging(*, level: str, style: str, stream: TextIO | None = None, show_pid: bool = False) -> None:
    """Send all logs to `stream` (stderr): `style` is `text`, `json`, or `auto`, which is text on a terminal only.

    `show_pid` gives each line the number of its process, for several that write to one place.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    is_text = style == "text" or (style == "auto" and stream.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    if show_pid:
        handler.addFilter(_add_pid)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Uvicorn's lines about its start and stop are ours to write.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))


def _add_pid(record: logging.LogRecord) -> bool:
    record.pid = os.getpid()
    return True


def log_events(observe: Callable[[Observer, Sequence[type[Event]]], None]) -> None:
    """Write a line for each event whose level is on: what went wrong at WARNING, what is made or given back at INFO.

    The rest is at DEBUG. Call it after `configure_logging`: an event whose level is off is not even observed.
    """
    observe(_log_event, [event_type for event_type in get_args(Event) if logger.isEnabledFor(_level(event_type))])


def _log_event(event: Event) -> None:
    logger.log(_level(type(event)), _name(type(event)), extra=_about(event))


def _level(event_type: type[Event]) -> int:
    if event_type in (JobDied, LeaseLost, LeaseLapsed, LoopStalled):
        return logging.WARNING
    return logging.INFO if event_type in (QueueCreated, JobReleased) else logging.DEBUG


def _about(event: Event) -> dict[str, object]:
    if isinstance(event, QueueCreated):
        return {"queue": event.queue}
    if isinstance(event, LoopStalled):
        return {"stalled_s": round(event.stalled_s, 3)}
    if isinstance(event, JobsLost):
        return {"partition": event.partition}
    job: Job = event.job
    about: dict[str, object] = {
        "job_id": str(job.id),
        "queue": job.queue,
        "type": job.type,
        "attempt": job.attempt,
    }
    if isinstance(event, JobDied | JobRetryScheduled):
        about["error"] = event.error
    if isinstance(event, JobDied):
        about["reason"] = event.reason.value
    if isinstance(event, JobReleased):
        about["is_unhandled"] = event.is_unhandled
    if isinstance(event, JobRetryScheduled | JobSnoozed):
        about["delay_ms"] = event.delay_ms
    if isinstance(event, JobProgressed):
        about["progress"] = event.progress
    return about


@cache
def _name(event_type: type[Event]) -> str:
    """Return JobRetryScheduled as job_retry_scheduled."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in event_type.__name__)
    return words.removeprefix("_")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _shown(value: object) -> str:
    return json.dumps(value, default=repr) if isinstance(value, str) and not value.isalnum() else _one_line(str(value))


def _indented(traceback: str) -> str:
    """Return the traceback below its line; indented, so that no message in it can look like a line of the log."""
    return "".join(f"\n    {_one_line(line)}" for line in traceback.splitlines())


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
