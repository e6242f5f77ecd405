"""A whole queue in this process under a clock the test moves: no real time, no I/O."""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import pytest

from gotaskq import Settings, TaskQ
from gotaskq.events import Event
from gotaskq.testing.clock import FakeClock


class MakeApp(Protocol):
    """Makes an app under the test's clock; `settings` are fields of Settings."""

    def __call__(self, *, settings: Settings | None = None, **options: Any) -> TaskQ: ...


class Until(Protocol):
    """Lets everything run that can without time passing, until a condition holds."""

    async def __call__(self, condition: Callable[[], bool]) -> None: ...


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
