"""Fixtures for pytest, for whoever asks for them: `pytest_plugins = ["gotaskq.testing.plugin"]` in a conftest.

The app comes from the ini option `gotaskq_app = "tasks:app"`, or from a `gotaskq_app` fixture of the project's own.
Needs pytest-asyncio, in either mode.
"""

import pkgutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from gotaskq.app import TaskQ
from gotaskq.stand_in import StandingClock
from gotaskq.testing.driving import frozen_clock
from gotaskq.testing.flaky import FlakyBackend


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the app."""
    parser.addini("gotaskq_app", "the TaskQ under test, as module:attribute", default="")


@pytest.fixture
def gotaskq_app(request: pytest.FixtureRequest) -> TaskQ:
    """Return the app under test; override this fixture to make one."""
    name: str = request.config.getini("gotaskq_app")
    if not name:
        raise pytest.UsageError(
            'gotaskq.testing.plugin does not know the app: set gotaskq_app = "module:attribute" in the pytest '
            "configuration, or define a fixture gotaskq_app that returns it"
        )
    app: object = pkgutil.resolve_name(name)
    if not isinstance(app, TaskQ):
        raise pytest.UsageError(f"gotaskq_app = {name!r} is {app!r}; it must name a TaskQ")
    return app


@pytest.fixture
def flaky_store() -> FlakyBackend:
    """Return what stands before the store of `tq` and `tq_inline`, and can be told to fail."""
    return FlakyBackend()


@pytest_asyncio.fixture
async def tq(gotaskq_app: TaskQ, flaky_store: FlakyBackend) -> AsyncIterator[TaskQ]:
    """Return the app with a fresh store; its jobs wait for `drain`."""
    async with gotaskq_app.override(wrap=flaky_store.around) as app:
        yield app


@pytest_asyncio.fixture
async def tq_inline(gotaskq_app: TaskQ, flaky_store: FlakyBackend) -> AsyncIterator[TaskQ]:
    """Return the app with a fresh store; each enqueue runs its job to the end."""
    async with gotaskq_app.override(mode="inline", wrap=flaky_store.around) as app:
        yield app


@pytest.fixture
def tq_clock(tq: TaskQ) -> Iterator[StandingClock]:
    """Return the time of `tq`, which stands still until `tick`."""
    with frozen_clock(tq) as clock:
        yield clock
