"""What the fault tests share: a world each, one seed a run, and the evidence of those that fail."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest
from tests.faults.world import POLL_S, WITHIN_S, World
from tests.redis_servers import Flavour


class MakeWorld(Protocol):
    """Makes the test's world, with a Redis of this flavour (the newest) configured so (`_` for `-`)."""

    def __call__(self, flavour: Flavour | None = None, **config: str) -> World: ...


class Soon(Protocol):
    """Lets the loop run until a condition holds."""

    async def __call__(
        self, condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = WITHIN_S
    ) -> None: ...


@pytest.fixture
def make_world(request: pytest.FixtureRequest, tmp_path: Path, rng: Random) -> Iterator[MakeWorld]:
    with ExitStack() as stack:

        def make(flavour: Flavour | None = None, **config: str) -> World:
            settings = {name.replace("_", "-"): value for name, value in config.items()}
            world = World(tmp_path, rng, flavour=flavour, config=settings)
            request.node.world = world
            return stack.enter_context(world)

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


@pytest.fixture
def soon() -> Soon:
    async def wait(condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while True:
                holds = condition()
                if holds if isinstance(holds, bool) else await holds:
                    return
                await asyncio.sleep(POLL_S)

    return wait


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    world = getattr(item, "world", None)
    if report.when == "call" and report.failed and isinstance(world, World):
        report.sections += [(title, text) for title, text in world.report().items()]
    return report
