"""Asks how long `import gotaskq` takes, and how long `gotaskq run` takes to answer `/healthz`.

The import is the wall time of `python -c "import gotaskq"` less that of an empty program, run just before it; with
`TaskQ`, which loads what a program needs to define tasks and to enqueue, it is CPU time, since noise moves that least.
References: `import asyncio`, less the same; the Starlette server's way to its first answer.
"""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.harness import Options
from benchmarks.processes import HOST, START_WAIT_S, STOP_WAIT_S, ServerError, free_port
from benchmarks.report import REPOSITORY, Goal, Row
from benchmarks.turns import Figures, Turns

QUESTION = "start: import gotaskq; gotaskq run until /healthz answers"

RUNS = 9  # a start is short, so noise weighs more on it
LOOK_EVERY_S = 0.002
SERVER = (sys.executable, "-m", "gotaskq", "run", "--port", "{port}", "--no-workers")
STARLETTE = (sys.executable, "-m", "benchmarks.references.starlette_route", "--port", "{port}")
QUICK_IMPORT = Goal(bound=60, of="ours", sense="at most")
QUICK_START = Goal(bound=700, of="ours", sense="at most")
AN_IMPORT = "import asyncio"
AN_IMPORT_CPU = "import asyncio, CPU"
A_SERVER = "starlette"


def measure(options: Options) -> list[Row]:
    """Measure imports and servers in turns."""
    turns = Turns(
        options if options.is_quick else replace(options, runs=max(options.runs, RUNS)),
        {
            "import gotaskq": partial(_import, "gotaskq"),
            AN_IMPORT: partial(_import, "asyncio"),
            "TaskQ": partial(_import_cpu, "from gotaskq import TaskQ"),
            AN_IMPORT_CPU: partial(_import_cpu, AN_IMPORT),
            "gotaskq run": partial(_first_answer, SERVER),
            A_SERVER: partial(_first_answer, STARLETTE),
        },
    )
    return [
        turns.row(
            "import gotaskq", ours="import gotaskq", figure="ms", unit="ms", against=AN_IMPORT, goal=QUICK_IMPORT
        ),
        turns.row("from gotaskq import TaskQ, CPU", ours="TaskQ", figure="ms", unit="ms", against=AN_IMPORT_CPU),
        turns.row(
            "gotaskq run to first answer",
            ours="gotaskq run",
            figure="ms",
            unit="ms",
            against=A_SERVER,
            goal=QUICK_START,
        ),
    ]


def _import(module: str) -> Figures:
    empty_ms = _program_ms("pass")
    return {"ms": _program_ms(f"import {module}") - empty_ms}


def _import_cpu(statement: str) -> Figures:
    empty_ms = _program_cpu_ms("pass")
    return {"ms": _program_cpu_ms(statement) - empty_ms}


def _program_cpu_ms(program: str) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    _program_ms(program)
    after = getrusage(RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _program_ms(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=START_WAIT_S)
    return (time.perf_counter() - started) * 1000


def _first_answer(argv: Sequence[str]) -> Figures:
    """Start a server, look every 2 ms whether it answers, and end it."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [argument.replace("{port}", str(port)) for argument in argv],
        cwd=REPOSITORY,
        env={**os.environ, "LOG_LEVEL": "warning"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _is_up(port):
            if process.poll() is not None or time.perf_counter() - started > START_WAIT_S:
                raise ServerError(f"{argv[2]} did not answer on port {port} (it ended with {process.poll()})")
            time.sleep(LOOK_EVERY_S)
        return {"ms": (time.perf_counter() - started) * 1000}
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_WAIT_S)
    process.kill()
    process.wait()


def _is_up(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
