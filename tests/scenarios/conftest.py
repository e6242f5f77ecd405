"""A whole queue in this process under a clock the test moves: no real time, no I/O."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import pytest

from gotaskq import Settings, TaskQ
from gotaskq.events import Event
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.desk import PATIENCE_S


class MakeApp(Protocol):
    """Makes an app under the test's clock; `settings` are fields of Settings."""

    def __call__(self, *, settings: Settings | None = None, **options: Any) -> TaskQ: ...


class Until(Protocol):
    """Lets everything run that can without time passing, until a condition holds."""

    async def __call__(self, condition: Callable[[], bool]) -> None: ...


class UntilEvent(Protocol):
    """Waits, in real time where a thread takes some, until the app has told of such an event."""

    async def __call__(self, kind: type[Event]) -> None: ...


@pytest.fixture
def make_app(clock: FakeClock, rng: Random) -> MakeApp:
    def make(*, settings: Settings | None = None, **options: Any) -> TaskQ:
        return TaskQ(settings=settings, clock=clock, rng=rng, **options)

    return make


@pytest.fixture
def app(make_app: MakeApp) -> TaskQ:
    return make_app()


@pytest.fixture
def events(app: TaskQ) -> list[Event]:
    """Every event of the app, in order."""
    seen: list[Event] = []
    app.observe(seen.append)
    return seen


@pytest.fixture
def until(clock: FakeClock) -> Until:
    async def wait(condition: Callable[[], bool]) -> None:
        for _ in range(100):
            if condition():
                return
            await clock.settle()
        raise AssertionError("this never became true, though everything ran that could")

    return wait


@pytest.fixture
def until_event(app: TaskQ) -> UntilEvent:
    seen: dict[type[Event], asyncio.Event] = defaultdict(asyncio.Event)
    app.observe(lambda event: seen[type(event)].set())

    async def wait(kind: type[Event]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await seen[kind].wait()

    return wait
