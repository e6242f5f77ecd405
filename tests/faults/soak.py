"""Row 60, the soak: an API and three workers under a random nemesis and a steady stream of jobs, then a check.

`make soak-faults ARGS="--minutes 10 --seed N"` prints what happened; a run that fails keeps its records.
The seed fixes which faults come in which order and for how long; what they meet is the machine's to say.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

from tests.faults.checker import Allow
from tests.faults.footprint import memory_kb
from tests.faults.nemesis import Nemesis
from tests.faults.store import Store
from tests.faults.world import WITHIN_S, World, eventually
from tests.integration.server_process import ServerProcess

WORKERS: Final = 3
RATE: Final = 200.0  # jobs a second asked for, over all clients; refusals and outages cost some of it
CLIENTS: Final = 8
KEPT: Final = "24h"  # jobs that are done, for the check at the end; by default the first would be gone by then
SETTLING: Final = 1 / 3  # of a run; what is at rest then is the measure for the end, for faults run code of their own
SHOWN: Final = 12  # readings of the memory
BEHIND_S: Final = 1.0  # a client that an outage held up for longer does not make up for it
# What is submitted, by weight: two in a hundred die, so that the dead stay below their limit for an hour.
MIX: Final[tuple[tuple[int, str, dict[str, Any]], ...]] = (
    (70, "noop", {}),
    (10, "noop", {"delay": 1}),
    (10, "slow", {"payload": {"ms": 100}}),
    (1, "slow", {"payload": {"ms": 1_500}}),
    (7, "flaky", {"payload": {"failures": 1}}),
    (2, "fail", {"max_retries": 1}),
)
# Overlap: a worker that stood still or was cut off for longer than its lease has lost it and does not know yet.
ALLOWED: Final = Allow(overlap=True)


@dataclass(frozen=True, slots=True)
class Report:
    """What a soak saw."""

    seconds: float
    faults: Counter[str]
    store: Store
    accepted: int
    refused: int
    unknown: int
    runs: int
    memory_kb: list[int]  # of the API, after each fault

    def lines(self) -> list[str]:
        """Say it in lines."""
        ends = ", ".join(f"{count} {status}" for status, count in self.store.by_status().items() if count)
        counted = ", ".join(f"{name} {self.store.count(name)}" for name in ("retry", "crash", "lost"))
        return [
            f"{self.seconds:.0f} s under faults; {self.accepted / self.seconds:.0f} jobs accepted a second",
            f"calls: {self.accepted} accepted, {self.refused} refused, {self.unknown} unknown",
            f"jobs: {len(self.store.jobs())} stored, {ends}; {self.runs} runs; {counted}",
            f"memory of the API, in MB: {', '.join(f'{kb / 1000:.1f}' for kb in self._some_memory())}",
            f"faults: {self.faults.total()}",
            *(f"  {count:5} {kind}" for kind, count in sorted(self.faults.items())),
        ]

    def _some_memory(self) -> list[int]:
        return self.memory_kb[:: max(1, len(self.memory_kb) // SHOWN)]


def soak(world: World, rng: Random, *, seconds: float) -> Report:
    """Let the nemesis loose for so long, then heal, drain and hold what is left to the invariants."""
    api = world.api(by_proxy=True)
    nemesis = Nemesis(
        world, rng, start_worker=lambda: world.worker(by_proxy=True, COMPLETE_JOB_TTL=KEPT), workers=WORKERS
    )
    memory = _let_loose(world, nemesis, api, rng, seconds=seconds * SETTLING)
    world.renew_leases()
    world.fleet.rest(world.masters)
    memory += _let_loose(world, nemesis, api, rng, seconds=seconds * (1 - SETTLING))
    nemesis.end()

    assert api.is_running, api.stderr
    store, history = world.check(ALLOWED), world.history
    counts = (len(history.accepted), len(history.refused), len(history.unknown), len(world.log.runs()))
    return Report(seconds, nemesis.counts, store, *counts, memory)


def _let_loose(world: World, nemesis: Nemesis, api: ServerProcess, rng: Random, *, seconds: float) -> list[int]:
    """Act under load for so long, and wait until it is made good; return the memory of the API meanwhile."""
    began_s, memory = time.monotonic(), []
    with _Traffic(world, api, rng):
        while time.monotonic() < began_s + seconds:
            nemesis.act()
            memory.append(memory_kb(api))
    eventually(lambda: world.post(api))
    world.drain(within_s=2 * WITHIN_S)
    return memory


class _Traffic:
    """Clients that submit jobs at a steady rate while it is entered."""

    def __init__(self, world: World, api: ServerProcess, rng: Random) -> None:
        self._world = world
        self._api = api
        self._over = threading.Event()
        seeds = [rng.getrandbits(64) for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._submit, args=(Random(seed),), daemon=True) for seed in seeds]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WITHIN_S)

    def _submit(self, rng: Random) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            [(_, job_type, members)] = rng.choices(MIX, weights=[weight for weight, _, _ in MIX])
            self._world.post(self._api, job_type, **members)
            due_s = max(due_s + CLIENTS / RATE, time.monotonic() - BEHIND_S)
            self._over.wait(due_s - time.monotonic())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Faults at random under a steady load, and a check of what is left.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32))
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # and the processes with us
    print(f"soak: --minutes {options.minutes:g} --seed {options.seed}", flush=True)
    folder, rng = Path(tempfile.mkdtemp(prefix="gotaskq-soak-")), Random(options.seed)
    with World(folder, rng) as world:
        try:
            report = soak(world, rng, seconds=60 * options.minutes)
        except BaseException:
            (folder / "report.json").write_text(json.dumps(dict(world.report()), indent=1))
            print(f"failed; the records are in {folder}", file=sys.stderr)
            raise
    shutil.rmtree(folder)
    print("\n".join([*report.lines(), "violations: 0"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
