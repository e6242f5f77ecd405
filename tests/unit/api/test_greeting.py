"""The greeting of a process: what it says can be done as it is said."""

import asyncio
import shlex
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gotaskq import Settings, TaskQ
from gotaskq.api.greeting import LONGEST, greeting_of_api


@pytest.fixture
def taskq() -> TaskQ:
    return TaskQ(settings=Settings())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def _words(taskq: TaskQ, listener: socket.socket) -> list[str]:
    _, _, command = greeting_of_api(taskq, listener, "1 workers").partition("Try: ")
    return shlex.split(command)


def test_the_job_it_names_is_one_the_app_takes(taskq: TaskQ, listener: socket.socket) -> None:
    @taskq.task("it_s")
    async def quoted(to: str, times: int, tags: list[str], said: str = "it's") -> None: ...

    @taskq.task("zoom")
    async def other(n: int) -> None: ...

    body: dict[str, Any] = msgspec.json.decode(_words(taskq, listener)[-1])
    stored = asyncio.run(_enqueued(taskq, body))

    assert body["type"] == "it_s"
    assert stored == {"to": "text", "times": 1, "tags": ["text"], "said": "it's"}


def test_an_app_without_types_is_shown_any_job(taskq: TaskQ, listener: socket.socket) -> None:
    assert msgspec.json.decode(_words(taskq, listener)[-1]) == {"type": "some-type", "payload": {"msg": "hello"}}


def test_a_payload_too_long_to_paste_is_left_to_the_types(taskq: TaskQ, listener: socket.socket) -> None:
    @taskq.task()
    async def long(text: str = "x" * LONGEST) -> None: ...

    assert _words(taskq, listener) == ["curl", f"http://127.0.0.1:{listener.getsockname()[1]}/types"]


async def _enqueued(taskq: TaskQ, body: dict[str, Any]) -> Any:
    async with taskq:
        return (await taskq.enqueue(body["type"], body["payload"])).payload
