"""Row 60 for a minute: every fault of the nemesis at random, three workers, a steady stream of jobs."""

from random import Random

import pytest
from tests.faults.soak import soak
from tests.faults.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 60.0
FEWEST = 1_000  # jobs: with less there was no load to speak of


def test_nothing_is_lost_under_faults_at_random(world: World, rng: Random) -> None:
    report = soak(world, rng, seconds=SECONDS)

    print("\n".join(report.lines()))
    assert report.accepted > FEWEST
    assert len(report.faults) > 1
