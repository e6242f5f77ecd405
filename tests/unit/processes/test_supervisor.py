"""How long the supervisor waits before it starts a process again."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gotaskq.processes.supervisor import FIRST_DELAY_S, MAX_DELAY_S, SPREAD, restart_delay_s


@given(failures=st.integers(1, 10**9), seed=st.integers())
def test_a_restart_is_never_at_once_and_never_far_away(failures: int, seed: int) -> None:
    delay_s = restart_delay_s(failures, Random(seed))

    assert FIRST_DELAY_S * (1 - SPREAD) <= delay_s <= MAX_DELAY_S * (1 + SPREAD)


def test_the_delay_doubles_with_each_failure_up_to_its_cap() -> None:
    means = [sum(restart_delay_s(failures, Random(seed)) for seed in range(500)) / 500 for failures in range(1, 12)]

    doublings = [second / first for first, second in pairwise(means)]
    assert all(1.8 < doubling < 2.2 for doubling in doublings[:7])
    assert means[-1] < 1.1 * MAX_DELAY_S
