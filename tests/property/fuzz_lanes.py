"""Fuzzing the lanes against each other for as long as one likes: `make fuzz SECONDS=300`.

The same requests as in `test_lanes`, drawn anew with one seed after another. A disagreement ends it with the smallest
request that shows it.
"""

import asyncio
import itertools
import sys
import time
from typing import Final

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.property.test_lanes import assert_same, requests

DEFAULT_S: Final = 60.0
CASES_A_SEED: Final = 500
SAID_EVERY_S: Final = 10.0


def main(seconds: float) -> None:
    """Fuzz, and print how many cases there were."""
    began_s = said_s = time.monotonic()
    cases = 0

    def agree(sent: list[bytes]) -> None:
        nonlocal cases
        cases += 1
        asyncio.run(assert_same(sent))

    for number in itertools.count(1):
        drawn = given(sent=st.lists(requests(), min_size=1, max_size=4))(agree)
        bounded = settings(max_examples=CASES_A_SEED, database=None, suppress_health_check=list(HealthCheck))(drawn)
        seed(number)(bounded)()
        now_s = time.monotonic()
        if now_s >= said_s + SAID_EVERY_S or now_s >= began_s + seconds:
            print(f"{cases} cases in {now_s - began_s:.0f} s, both lanes agree", flush=True)
            said_s = now_s
        if now_s >= began_s + seconds:
            return


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_S)
