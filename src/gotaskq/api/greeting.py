"""The greeting: what a process says once it is ready, and a first job that its app takes.

Invariant: the command in it can be pasted into a shell, whatever the types of the app are called.
"""

import shlex
import socket
from typing import Final

import msgspec

from gotaskq.api.listening import url_of
from gotaskq.app import TaskQ
from gotaskq.descriptions import describe_types

UNKNOWN: Final = {"type": "some-type"}
FOR_ANY: Final = {"msg": "hello"}
LONGEST: Final = 300  # characters; a longer body is nothing to paste


def greeting_of_api(taskq: TaskQ, listener: socket.socket | None, workers: str) -> str:
    """Return where to send jobs, and how."""
    url = url_of(listener) if listener is not None else ""
    body = _first_job(taskq)
    how = f"{url}/types" if body is None else f"-X POST {url}/jobs -H 'content-type: application/json' -d {body}"
    return f"GoTaskQ listens on {url} · backend {taskq.backend_name} · {workers}\nTry: curl {how}"


def greeting_of_workers(taskq: TaskQ, listener: socket.socket | None, workers: str) -> str:
    """Return what is run here, and where to ask for its health."""
    queues = "all queues" if taskq.settings.queues is None else ", ".join(taskq.settings.queues)
    health = "" if listener is None else f" · health at {url_of(listener)}/healthz"
    return f"GoTaskQ runs the jobs of {queues} · backend {taskq.backend_name} · {workers}{health}"


def _first_job(taskq: TaskQ) -> str | None:
    """Return the body of a job of the app's first type, as a word of the shell; None if it is too long to paste."""
    first = taskq.job_types[:1]
    tasks = {name: task for name, task in taskq.tasks.items() if name in first}
    [entry] = describe_types(tasks, first) or [UNKNOWN]
    body = msgspec.json.encode({"type": entry["type"], "payload": entry.get("example", FOR_ANY)}).decode()
    return shlex.quote(body) if len(body) <= LONGEST else None
