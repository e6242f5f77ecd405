"""Hundreds of seeds keep every invariant, and a seed is played the same way each time, in whatever process."""

import os
import re
import subprocess
import sys
from random import Random

import pytest
from tests.simulation import mutants

from gotaskq.testing.simulation import Fault, Simulation, SimulationFailedError
from gotaskq.testing.simulation.__main__ import main
from gotaskq.testing.simulation.faults import ALL_FAULTS, draw_plan, parse_faults
from gotaskq.testing.simulation.workload import client, make_app

SEEDS = range(300)


@pytest.mark.slow
def test_no_seed_breaks_an_invariant(request: pytest.FixtureRequest) -> None:
    given: int | None = request.config.getoption("--seed")
    seeds = SEEDS if given is None else [given]

    summary = Simulation(make_app, client=client, seeds=seeds).run()

    print(summary)
    assert summary.seeds == len(seeds)
    assert summary.jobs > summary.seeds


@pytest.mark.parametrize("seed", [6, 11, 94, 606, 1693, 2454, 3011])
def test_a_seed_that_once_found_something_is_well(seed: int) -> None:
    assert Simulation(make_app, client=client).play(seed).violation is None


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_each_fault_strikes(fault: Fault) -> None:
    simulation = Simulation(make_app, client=client, faults=[fault])

    plays = [simulation.play(seed) for seed in range(12)]

    assert {played.violation for played in plays} == {None}
    assert any(record.what == fault.value for played in plays for record in played.history.records)


def test_a_seed_is_played_the_same_way_twice() -> None:
    simulation = Simulation(make_app, client=client)

    for seed in range(10):
        first, again = simulation.play(seed), simulation.play(seed)
        assert first.history.records == again.history.records
        assert (first.steps, first.virtual_s) == (again.steps, again.virtual_s)


def test_different_seeds_are_played_differently() -> None:
    simulation = Simulation(make_app, client=client)

    assert len({simulation.play(seed).history.tail() for seed in range(10)}) == 10


@pytest.mark.slow
def test_a_seed_is_played_the_same_way_in_another_process() -> None:
    histories = {
        subprocess.run(
            [sys.executable, "-m", "gotaskq.testing.simulation", "--seed", "17", "--history"],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rpartition(", ")[0]  # without the seconds it took
        for hash_seed in ("1", "2")
    }

    assert len(histories) == 1
    assert histories.pop().count("\n") > 50


def test_a_failure_names_its_seed_its_faults_and_the_end_of_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.publish_before_the_store_confirmed(monkeypatch)

    with pytest.raises(SimulationFailedError) as failure:
        Simulation(make_app, client=client, seeds=[3]).run()

    message = str(failure.value)
    assert "which the store has not confirmed" in message.splitlines()[0]
    assert "seed 3; faults: " in message
    assert re.search(r"^ +\d+\.\d{3}  checker VIOLATION", message, re.MULTILINE)
    assert message.endswith("or with --seed 3")


def test_the_command_plays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "5", "--faults", "drop,kill"]) == 0

    assert capsys.readouterr().out.startswith("1 seeds, ")


def test_the_command_fails_with_a_seed_that_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mutants.stop_the_heartbeat(monkeypatch)

    assert main(["--seeds", "20"]) == 1

    assert "--seed " in capsys.readouterr().out


def test_faults_are_named_by_their_words() -> None:
    assert parse_faults("drop, lose-reply") == {Fault.DROP, Fault.LOSE_REPLY}
    with pytest.raises(ValueError, match="earthquake"):
        parse_faults("drop,earthquake")


def test_a_seed_draws_only_faults_that_are_allowed(rng: Random) -> None:
    plans = [draw_plan({Fault.DROP, Fault.KILL}, rng) for _ in range(100)]

    assert {fault for plan in plans for fault, _ in plan.rates} == {Fault.DROP}
    assert {fault for plan in plans for fault in plan.blows} == {Fault.KILL}
    assert set(Fault) == ALL_FAULTS
