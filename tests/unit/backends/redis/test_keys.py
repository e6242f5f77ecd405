"""Keys: one slot a partition, and the partitions spread over a Cluster."""

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from gotaskq.backends.redis.keys import TAGS, Keys, member
from gotaskq.job import JobId


def slots(partitions: int) -> list[int]:
    return [key_slot(Keys("gotaskq").meta(partition).encode()) for partition in range(partitions)]


def test_every_partition_has_a_slot_of_its_own() -> None:
    assert len(TAGS) == len(set(slots(64))) == 64


@pytest.mark.parametrize("partitions", [2, 4, 8, 16, 32, 64])
def test_the_first_partitions_are_spread_evenly(partitions: int) -> None:
    share = REDIS_CLUSTER_HASH_SLOTS // partitions

    assert sorted(slot // share for slot in slots(partitions)) == list(range(partitions))


def test_every_master_of_three_has_partitions_from_four_on() -> None:
    for partitions in range(4, 65):
        assert {slot * 3 // REDIS_CLUSTER_HASH_SLOTS for slot in slots(partitions)} == {0, 1, 2}


def test_the_tag_begins_with_the_partition_for_the_scripts_to_read() -> None:
    assert all(tag.startswith(str(number)) and tag.lstrip("0123456789").isalpha() for number, tag in enumerate(TAGS))


def test_members_sort_as_their_numbers_do() -> None:
    ids = [JobId(9), JobId(10), JobId(2**63 - 1)]

    assert sorted(map(member, ids)) == [member(job_id) for job_id in ids]
