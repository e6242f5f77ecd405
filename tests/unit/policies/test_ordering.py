"""Orderings: one exact integer that puts any two jobs in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.job import MAX_PRIORITY, MIN_PRIORITY
from gotaskq.policies.ordering import MAX_RANK, RANK_TIME_BITS, Fifo, Ordering, PriorityFifo

priorities = st.integers(MIN_PRIORITY, MAX_PRIORITY)
instants = st.integers(0, 2**RANK_TIME_BITS - 1)


@pytest.mark.parametrize("ordering", [PriorityFifo(), Fifo()])
@given(priority=priorities, created_at_ms=instants)
def test_a_rank_is_exact_as_a_double(ordering: Ordering, priority: int, created_at_ms: int) -> None:
    rank = ordering.rank(priority=priority, created_at_ms=created_at_ms)

    assert 0 <= rank <= MAX_RANK < 2**53
    assert int(float(rank)) == rank


@given(a=st.tuples(priorities, instants), b=st.tuples(priorities, instants))
def test_priority_fifo_puts_priority_before_age(a: tuple[int, int], b: tuple[int, int]) -> None:
    rank_a, rank_b = (PriorityFifo().rank(priority=job[0], created_at_ms=job[1]) for job in (a, b))

    assert (rank_a < rank_b) == ((-a[0], a[1]) < (-b[0], b[1]))
    assert (rank_a == rank_b) == (a == b)


@given(a=st.tuples(priorities, instants), b=st.tuples(priorities, instants))
def test_fifo_knows_age_alone(a: tuple[int, int], b: tuple[int, int]) -> None:
    rank_a, rank_b = (Fifo().rank(priority=job[0], created_at_ms=job[1]) for job in (a, b))

    assert (rank_a < rank_b) == (a[1] < b[1])
    assert (rank_a == rank_b) == (a[1] == b[1])
