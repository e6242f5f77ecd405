"""Sharing work out: every item once, in order, and no call too long or too heavy."""

from hypothesis import given
from hypothesis import strategies as st

from gotaskq.backends.redis.partitions import parcels


@given(weights=st.lists(st.integers(0, 9)), size=st.integers(1, 5), most_bytes=st.integers(1, 20))
def test_parcels_are_small_and_hold_everything(weights: list[int], size: int, most_bytes: int) -> None:
    places = list(range(len(weights)))

    cut = list(parcels(places, weights, size=size, most_bytes=most_bytes))

    assert [place for parcel in cut for place in parcel] == places
    for parcel in cut:
        assert 1 <= len(parcel) <= size
        assert sum(weights[place] for place in parcel[:-1]) < most_bytes
    for parcel in cut[:-1]:
        assert len(parcel) == size or sum(weights[place] for place in parcel) >= most_bytes
