"""The tests of the tests: code that is broken on purpose must fail them. All of it: `make mutate`."""

from dataclasses import replace

import pytest
from tests.faults.mutations import CONTROL, MUTATIONS, ROOT, Mutation, is_noticed

CHEAP = (
    "leave settled jobs among the running",
    "give other jobs for a repeated reservation",
    "take a repeated enqueue for another job",
    "know no outage",
)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.name in CHEAP], ids=lambda mutation: mutation.name)
def test_broken_code_fails_the_tests(mutation: Mutation) -> None:
    assert is_noticed(mutation)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_whole_code_passes_them() -> None:
    assert not is_noticed(replace(CONTROL, tests=("tests/faults/test_outage_grace.py",)))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_place(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
