"""Ready entries: the lowest comes first, however they came in."""

from hypothesis import given
from hypothesis import strategies as st

from gotaskq.backends.memory.ready import ID_BITS, ReadyEntries
from gotaskq.policies.ordering import MAX_RANK, PriorityFifo

ORDERING = PriorityFifo()
IDS = st.integers(0, 2**ID_BITS - 1)


def entry(rank: int, job_id: int) -> int:
    return rank << ID_BITS | job_id


ranks = st.integers(0, MAX_RANK) | st.builds(
    lambda priority, age_ms: ORDERING.rank(priority=priority, created_at_ms=1_790_000_000_000 + age_ms),
    st.integers(0, 10),
    st.integers(0, 3),
)
pushes = st.builds(entry, ranks, IDS | st.integers(0, 3))
pops = st.integers(-5, -1)


@given(st.lists(pushes | pops, max_size=60))
def test_the_lowest_are_taken_in_order_whatever_came_in_between(steps: list[int]) -> None:
    ready = ReadyEntries()
    expected: list[int] = []

    for step in steps:
        if step >= 0:
            ready.push(step)
            expected = sorted([*expected, step])
        else:
            assert ready.pop(-step) == expected[:-step]
            expected = expected[-step:]
        assert len(ready) == len(expected)
        assert sorted(ready) == expected

    assert ready.pop(len(steps)) == expected


@given(st.lists(pushes, max_size=40), st.integers(0, 3))
def test_what_is_not_kept_is_gone(entries: list[int], rest: int) -> None:
    ready = ReadyEntries()
    for one in entries:
        ready.push(one)

    ready.keep(lambda one: one % 4 == rest)

    assert ready.pop(len(entries)) == sorted(one for one in entries if one % 4 == rest)
