"""What users may rely on: changing this list is a decision, not an accident."""

import subprocess
import sys

import gotaskq

PUBLIC = [
    "INJECTED",
    "Callback",
    "Cancel",
    "Context",
    "Discard",
    "ExponentialBackoff",
    "Fifo",
    "FixedDelay",
    "GotaskqError",
    "Job",
    "JobHandle",
    "JobRequest",
    "NoRetry",
    "PriorityFifo",
    "ProcessOptions",
    "QueueCounts",
    "Retry",
    "RoundRobin",
    "Settings",
    "Snooze",
    "Status",
    "StrictPriority",
    "SyncJobHandle",
    "Task",
    "TaskQ",
    "Weighted",
    "current_context",
]


def test_the_public_names_are_these() -> None:
    assert gotaskq.__all__ == PUBLIC


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in PUBLIC if getattr(gotaskq, name, None) is None] == []


def test_importing_the_package_loads_no_server_and_no_store() -> None:
    heavy = {"starlette", "uvicorn", "redis", "prometheus_client", "click", "jinja2", "uvloop"}
    program = f"import sys, gotaskq; gotaskq.TaskQ; print(sorted({heavy!r} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"
