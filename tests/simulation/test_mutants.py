"""The test of the tests: whatever is broken on purpose, some seed notices, and does so the same way again."""

import pytest
from tests.simulation.mutants import MUTANTS, Break

from gotaskq.testing.simulation import Simulation
from gotaskq.testing.simulation.workload import client, make_app

SEEDS = 1_500  # the hardest to find needs about seven hundred


@pytest.mark.slow
@pytest.mark.parametrize("break_it", MUTANTS, ids=lambda break_it: break_it.__name__)
def test_a_seed_finds_what_is_broken(break_it: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    simulation = Simulation(make_app, client=client)

    found = next((played for seed in range(SEEDS) if (played := simulation.play(seed)).violation), None)

    assert found is not None
    assert not str(found.violation).startswith("I12"), "the mutant itself raises; it has to be mended"
    print(f"seed {found.seed}: {found.violation}")
    assert simulation.play(found.seed).history.records == found.history.records
