"""The demo project end to end on Redis: a view enqueues, the worker command runs, a view shows the result."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.redis_servers import RedisServer, free_port

from gotaskq import TaskQ

DEMO = Path(__file__).parents[2] / "examples" / "django_demo"
WAIT_S = 30.0
T = TypeVar("T")


class Command:
    """A command of the demo's `manage.py`, and what it says."""

    def __init__(self, *words: str, url: str) -> None:
        ours = {"BACKEND_URL": url, "DJANGO_SETTINGS_MODULE": "demo.settings", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=DEMO,
            env={**os.environ, **ours},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def wait(self) -> int:
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def manage(*words: str, url: str) -> Iterator[Command]:
    command = Command(*words, url=url)
    try:
        yield command
    finally:
        command.end()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def get(url: str) -> Any:
    with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return json.load(answer)
    return None


def eventually(look: Callable[[], T | None], about: Callable[[], str]) -> T:
    give_up = time.monotonic() + WAIT_S
    while not (seen := look()):
        assert time.monotonic() < give_up, about()
        time.sleep(0.02)
    return seen


def test_the_demo_works_end_to_end(server: RedisServer) -> None:
    port = free_port()
    with (
        manage("runserver", "--noreload", f"127.0.0.1:{port}", url=server.url) as web,
        manage("gotaskq_worker", "--queues", "mail:5,default", "--concurrency", "2", url=server.url) as worker,
    ):
        site = f"http://127.0.0.1:{port}"
        mail = eventually(lambda: get(f"{site}/signup?to=a@b.c"), lambda: web.said)["task"]
        total = get(f"{site}/sum?left=2&right=3")["task"]

        def finished(task: str) -> Any:
            answer = get(f"{site}/tasks/{task}")
            return answer if answer["status"] == "SUCCESSFUL" else None

        assert eventually(lambda: finished(mail), lambda: worker.said)["result"] == {"sent_to": "a@b.c", "attempt": 1}
        assert eventually(lambda: finished(total), lambda: worker.said)["result"] == 5
        assert get(f"{site}/tasks/1") is None
        assert worker.stop() == 0

    assert "2 tasks: demo.tasks.add, demo.tasks.welcome" in worker.said
    assert re.search(r"GoTaskQ runs the jobs of mail, default .* 2 workers", worker.said)
    assert "draining" in worker.said


def test_a_burst_runs_what_is_there_and_ends(server: RedisServer) -> None:
    taskq = TaskQ(server.url)
    jobs = [taskq.enqueue_sync("demo.tasks.add", {"args": [number, 1]}) for number in range(3)]

    with manage("gotaskq_worker", "--burst", url=server.url) as worker:
        assert worker.wait() == 0, worker.said

    assert [taskq.get_sync(job.id).result for job in jobs] == [1, 2, 3]


def test_memory_is_an_error_before_anything_runs() -> None:
    with manage("gotaskq_worker", url="memory://") as worker:
        assert worker.wait() == 1

    assert "no other process sees jobs in memory" in worker.said or "gotaskq.E001" in worker.said
