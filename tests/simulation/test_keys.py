"""Callers who insist, with keys: a request makes one job, and one at most of a unique key has not ended."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gotaskq.backend import EnqueueReply
from gotaskq.backends.memory import MemoryBackend
from gotaskq.backends.memory.keys import KeyRing
from gotaskq.job import Job
from gotaskq.keys import NO_KEYS, Keys
from gotaskq.testing.simulation import Simulation
from gotaskq.testing.simulation.workload import insisting_client, make_app

SEEDS = range(100)


@pytest.mark.slow
def test_no_seed_breaks_an_invariant() -> None:
    summary = Simulation(make_app, client=insisting_client, seeds=SEEDS).run()

    assert summary.seeds == len(SEEDS)
    assert summary.jobs > summary.seeds


def free_no_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyRing, "let_go", lambda self, job: None)


def replay_beside_a_twin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyRing, "take_again", lambda self, job: True)


def look_at_no_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyRing, "find", lambda self, keys, *, now_ms: None)


def forget_the_request(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.enqueue_now

    def enqueue_now(self: MemoryBackend, job: Job) -> EnqueueReply:
        return intact(self, replace(job, keys=Keys(job.unique_key) if job.unique_key else NO_KEYS))

    patch.setattr(MemoryBackend, "enqueue_now", enqueue_now)


@pytest.mark.parametrize("broken", [free_no_key, replay_beside_a_twin, look_at_no_key, forget_the_request])
def test_what_is_broken_is_noticed(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    simulation = Simulation(make_app, client=insisting_client)

    assert any("I9 keys" in str(simulation.play(seed).violation) for seed in SEEDS)
