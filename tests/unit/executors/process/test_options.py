"""Options that cannot be meant are refused where they are written."""

import pytest

from gotaskq.executors.process.options import ProcessOptions


@pytest.mark.parametrize("name", ["max_children", "max_jobs_per_child", "memory_limit_bytes", "grace_s"])
def test_no_number_is_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"ProcessOptions.{name}=-1: must be"):
        ProcessOptions(**{name: -1})  # type: ignore[arg-type]  # the name is drawn


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_duration_is_endless(value: float) -> None:
    with pytest.raises(ValueError, match="grace_s"):
        ProcessOptions(grace_s=value)


def test_a_child_must_have_time_to_live_between_beats() -> None:
    with pytest.raises(ValueError, match="heartbeat_s=0"):
        ProcessOptions(heartbeat_s=0)


def test_silence_is_longer_than_a_heartbeat() -> None:
    with pytest.raises(ValueError, match=r"max_silence_s=5: must be 0 or more than heartbeat_s=5\.0"):
        ProcessOptions(max_silence_s=5)
