"""What a handler may call inside a child is an error outside of one."""

import pytest

from gotaskq.executors.process.inside import progress


def test_progress_outside_of_a_child_is_an_error() -> None:
    with pytest.raises(RuntimeError, match='executor="process"'):
        progress(0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_progress_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        progress(fraction)
