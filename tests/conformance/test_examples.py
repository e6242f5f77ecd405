"""What the examples plug in keeps the contracts, too."""

import importlib.util
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import cast

from gotaskq.backend import Backend
from gotaskq.backends.journalled import JournalledBackend
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.executor import Executor
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.job import DeathReason
from gotaskq.policies.ordering import Ordering
from gotaskq.policies.retry import GiveUp, RetryPolicy
from gotaskq.policies.scheduling import QueueSelector
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.conformance import (
    BackendConformance,
    Case,
    ExecutorConformance,
    OrderingConformance,
    RetryPolicyConformance,
    SelectorConformance,
)
from gotaskq.testing.handlers import ASYNC_HANDLERS


def load(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OWN_BACKEND = load("10_own_backend")
SEALED_BACKEND = load("11_sealed_backend")
OWN_SELECTOR = load("12_own_selector")
OWN_ORDERING = load("13_own_ordering")
OWN_EXECUTOR = load("14_own_executor")
OWN_RETRY_POLICY = load("15_own_retry_policy")


class TestOwnBackend(BackendConformance):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        return JournalledBackend(OWN_BACKEND.SqliteJournal(":memory:"), limits, clock=clock, rng=rng)


class TestSealedBackend(BackendConformance):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        return cast("Backend", SEALED_BACKEND.SealedBackend(MemoryBackend(limits, clock=clock, rng=rng)))


class TestOwnSelector(SelectorConformance):
    may_starve = True

    def make_selector(self) -> QueueSelector:
        return cast("QueueSelector", OWN_SELECTOR.LongestNameFirst())


class TestOwnOrdering(OrderingConformance):
    def make_ordering(self) -> Ordering:
        return cast("Ordering", OWN_ORDERING.Lifo())


class TestOwnExecutor(ExecutorConformance):
    handlers = ASYNC_HANDLERS

    def make_executor(self, capacity: int) -> Executor:
        return cast("Executor", OWN_EXECUTOR.AtMost(capacity, AsyncioExecutor()))


class TestOwnRetryPolicy(RetryPolicyConformance):
    table = (
        Case(0, OWN_RETRY_POLICY.BusyError(), range(30_000, 30_001)),
        Case(0, KeyError("to"), GiveUp(DeathReason.NO_RETRY)),
        Case(0, OSError(), range(100, 141)),
    )

    def make_policy(self) -> RetryPolicy:
        return cast("RetryPolicy", OWN_RETRY_POLICY.AsTheServerSays())
