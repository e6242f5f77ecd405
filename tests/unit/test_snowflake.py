"""Ids: positive, in order of time, never twice, whatever the clock does."""

import logging
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotaskq.snowflake import EPOCH_MS, IDS_PER_MS, SnowflakeIds, created_at_ms, partition_of

NOW_MS: Final = 1_795_428_000_000  # 2026-11-23T10:00:00Z


class StartAt(Random):
    """Makes the sequence start behind this number."""

    def __init__(self, sequence: int) -> None:
        super().__init__()
        self._sequence = sequence

    def getrandbits(self, k: int, /) -> int:
        return self._sequence


def test_the_layout_is_41_bits_of_time_6_of_partition_16_of_sequence() -> None:
    job_id = SnowflakeIds(StartAt(41), partition=5).draw(NOW_MS)

    assert job_id == (NOW_MS - EPOCH_MS) << 22 | 5 << 16 | 42
    assert created_at_ms(job_id) == NOW_MS
    assert partition_of(job_id) == 5


def test_the_epoch_is_the_first_of_january_2026() -> None:
    assert created_at_ms(SnowflakeIds(Random(1)).draw(1_767_225_600_001)) == 1_767_225_600_001


@pytest.mark.parametrize("partition", [0, 1, 63])
def test_the_largest_id_fits_63_bits(partition: int) -> None:
    last_ms = EPOCH_MS + 2**41 - 1

    job_id = SnowflakeIds(StartAt(IDS_PER_MS - 2), partition=partition).draw(last_ms)

    assert 0 < job_id < 2**63
    assert (created_at_ms(job_id), partition_of(job_id)) == (last_ms, partition)


def test_generators_start_at_random() -> None:
    rng = Random(1)

    first_ids = {SnowflakeIds(rng).draw(NOW_MS) for _ in range(20)}

    assert len(first_ids) == 20


def test_the_sequence_runs_on_from_millisecond_to_millisecond() -> None:
    ids = SnowflakeIds(StartAt(10))

    assert [ids.draw(NOW_MS + step) & 0xFFFF for step in (0, 0, 1, 2)] == [11, 12, 13, 14]


def test_ids_of_one_millisecond_go_up_where_the_sequence_begins_anew() -> None:
    ids = SnowflakeIds(StartAt(IDS_PER_MS - 3))

    drawn = [ids.draw(NOW_MS) for _ in range(5)]

    assert drawn == sorted(set(drawn))


def test_more_ids_than_a_millisecond_has_go_on_in_the_next() -> None:
    ids = SnowflakeIds(Random(1))

    drawn = [ids.draw(NOW_MS) for _ in range(2 * IDS_PER_MS + 10)]

    assert len(set(drawn)) == len(drawn)
    assert drawn == sorted(drawn)
    assert NOW_MS + 2 <= created_at_ms(drawn[-1]) <= NOW_MS + 3


def test_a_clock_that_catches_up_changes_nothing() -> None:
    ids = SnowflakeIds(Random(1))
    drawn = [ids.draw(NOW_MS) for _ in range(IDS_PER_MS + 10)]

    drawn += [ids.draw(NOW_MS + step) for step in (0, 1, 1, 2, 3)]

    assert drawn == sorted(set(drawn))


@pytest.mark.parametrize("step_ms", [1, 50])
def test_a_small_step_back_is_passed_over_in_silence(step_ms: int, caplog: pytest.LogCaptureFixture) -> None:
    ids = SnowflakeIds(Random(1))
    before = ids.draw(NOW_MS)

    after = ids.draw(NOW_MS - step_ms)

    assert after > before
    assert created_at_ms(after) - NOW_MS in (0, 1)
    assert caplog.records == []


def test_a_large_step_back_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    ids = SnowflakeIds(Random(1))
    before = ids.draw(NOW_MS)

    drawn = [ids.draw(NOW_MS - 60_000) for _ in range(3)]

    assert [before, *drawn] == sorted({before, *drawn})
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "60000 ms" in record.getMessage()


def test_a_second_step_back_is_warned_of_again(caplog: pytest.LogCaptureFixture) -> None:
    ids = SnowflakeIds(Random(1))

    for now_ms in (NOW_MS, NOW_MS - 60_000, NOW_MS + 1, NOW_MS - 60_000):
        ids.draw(now_ms)

    assert len(caplog.records) == 2


def test_a_clock_before_the_epoch_still_gives_positive_ids() -> None:
    ids = SnowflakeIds(Random(1))

    drawn = [ids.draw(now_ms) for now_ms in (0, 1, 0)]

    assert min(drawn) >= 0
    assert len(set(drawn)) == 3


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    partition=st.integers(0, 63),
    steps_ms=st.lists(st.integers(-200, 200) | st.just(0), max_size=100),
)
def test_ids_only_go_up_whatever_the_clock_does(seed: int, partition: int, steps_ms: list[int]) -> None:
    ids = SnowflakeIds(Random(seed), partition=partition)
    now_ms = NOW_MS
    drawn = []

    for step_ms in steps_ms:
        now_ms += step_ms
        drawn.append(ids.draw(now_ms))
        assert partition_of(drawn[-1]) == partition
        assert created_at_ms(drawn[-1]) >= now_ms

    assert drawn == sorted(set(drawn))
