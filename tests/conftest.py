"""Fixtures for all tests: time, chance and ids, none of them real."""

from collections.abc import Callable
from random import Random, SystemRandom

import pytest
from hypothesis import settings

from gotaskq.job import JobId
from gotaskq.snowflake import SnowflakeIds
from gotaskq.testing.clock import FakeClock


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the `rng` fixture, as a failing test printed it")


def pytest_configure(config: pytest.Config) -> None:
    # Without a seed every run draws the same examples; `--hypothesis-seed=N` draws others.
    derandomize = config.getoption("--hypothesis-seed") is None
    settings.register_profile("gotaskq", derandomize=derandomize, database=None, deadline=None)
    settings.load_profile("gotaskq")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    given: int | None = request.config.getoption("--seed")
    seed = SystemRandom().getrandbits(32) if given is None else given
    print(f"rng: --seed={seed}")
    return Random(seed)


@pytest.fixture
def draw_id(clock: FakeClock, rng: Random) -> Callable[[], JobId]:
    """Draw ids in order of time, as admission does."""
    ids = SnowflakeIds(rng)
    return lambda: ids.draw(clock.now_ms())
