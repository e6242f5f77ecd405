"""A real server process, started as an operator would start it, and spoken to over real sockets."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.integration.http_client import Answer, Connection, request

from gotaskq.config import PREFIX, VARIABLES

HERE: Final = Path(__file__).parent
START_S: Final = 20.0  # generous: a machine under load must not fail the tests
STOP_S: Final = 20.0
WAIT_S: Final = 20.0
POLL_S: Final = 0.005

RUN: Final = ("run", "--port", "0")
WORKER: Final = ("worker",)
GREETING: Final = re.compile(r"http://(127\.0\.0\.1):(\d+)")

T = TypeVar("T")


class ServerProcess:
    """`python -m gotaskq run --port 0 …` or another command, its HTTP door, and what it writes to stderr."""

    def __init__(
        self, *options: str, app: str | None, env: Mapping[str, str], folder: Path, command: Sequence[str] = RUN
    ) -> None:
        words = [sys.executable, "-m", "gotaskq", *command, *options, *([app] if app else [])]
        self._process = subprocess.Popen(
            words,
            env=environment({"ALLOWED_HOSTS": "*"} | dict(env)),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._reading = threading.Thread(target=self._read_stderr, daemon=True)
        self._reading.start()
        try:
            self.greeting = self.wait_for_line("GoTaskQ ", within_s=START_S)
        except BaseException:
            self.kill()
            raise
        found = GREETING.search(self.greeting)
        assert found is not None or command != RUN, self.greeting
        self.address = (found[1], int(found[2])) if found else ("", 0)

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        return Connection(self.address)

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection of its own."""
        return self.ask_raw(request(method, path, body, headers=headers), has_body=method != "HEAD")

    def ask_raw(self, data: bytes, *, has_body: bool = True) -> Answer:
        with self.connect() as connection:
            connection.send(data)
            return connection.read(has_body=has_body)

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: bytes | None = b"") -> Answer:
        return self.ask("POST", path, body)

    def submit(self, job_type: str, payload: object = None, *, queue: str | None = None, **members: object) -> Any:
        """Submit a job that must be accepted, and return it as the answer shows it."""
        body = json.dumps({"type": job_type, "payload": payload, **members}).encode()
        answer = self.post(f"/{queue}/jobs" if queue else "/jobs", body)
        assert answer.status == 201, answer
        return answer.json

    def job(self, job_id: str) -> Any:
        answer = self.get(f"/jobs/{job_id}")
        assert answer.status == 200, answer
        return answer.json

    def wait_for_status(self, job_id: str, status: str) -> Any:
        """Return the job as soon as it has this status."""
        return eventually(lambda: job if (job := self.job(job_id))["status"] == status else None)

    # -- the process ---------------------------------------------------------------------------------------------------

    @property
    def stderr(self) -> str:
        """What was written so far; all of it once the process has ended."""
        if not self.is_running:
            self._reading.join(STOP_S)
        with self._more:
            return "".join(self._lines)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for_line(self, text: str, *, within_s: float = WAIT_S) -> str:
        """Return the first line of stderr that holds `text`."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or not self._reading.is_alive(), within_s)
            line = found()
            assert line is not None, f"no line with {text!r} in:\n{''.join(self._lines)}"
            return line

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        return self._process.wait(STOP_S)

    def stop(self) -> int:
        """End the process as a supervisor does, and return the exit code."""
        self.signal()
        return self.wait()

    def kill(self) -> None:
        """End the process by force if it still runs, and let go of its pipe."""
        if self.is_running:
            self._process.kill()
            self._process.wait(STOP_S)
        self._reading.join(STOP_S)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read_stderr(self) -> None:
        if self._process.stderr is None:
            return
        for line in self._process.stderr:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


@contextlib.contextmanager
def running_server(
    *options: str,
    app: str | None = "apps:app",
    env: Mapping[str, str] | None = None,
    folder: Path = HERE,
    command: Sequence[str] = RUN,
) -> Iterator[ServerProcess]:
    """Run a server while the body runs; unless the body ends it, it must end well at SIGTERM, with no traceback."""
    server = ServerProcess(*options, app=app, env=env or {}, folder=folder, command=command)
    try:
        yield server
        if server.is_running:
            assert server.stop() == 0, server.stderr
            assert "Traceback" not in server.stderr, server.stderr
    finally:
        server.kill()


def run_command(
    *arguments: str, env: Mapping[str, str] | None = None, folder: Path = HERE
) -> subprocess.CompletedProcess[str]:
    """Run `python -m gotaskq …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gotaskq", *arguments],
        env=environment(env or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without any setting of ours, the test apps importable, and `extra`."""
    ours = {variable.name for variable in VARIABLES}
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith(PREFIX)}
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | dict(extra)


def eventually(probe: Callable[[], T | None], *, within_s: float = WAIT_S) -> T:
    """Return what `probe` finds, as soon as that is neither None nor False; fail when it never is."""
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline_s, "this never became true"
        pause.wait(POLL_S)
