"""The nemesis of the soak: draws faults at random, one after the other, and takes each back when its time is over.

Invariant: between two faults nothing is broken, so each must be recovered from, and the next may come before it is.
"""

import signal
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, Literal

from tests.faults.proxy import Loss
from tests.faults.world import LEASE_S, World, let_pass
from tests.integration.server_process import ServerProcess

LOSABLE: Final = ("enqueue", "enqueue_one", "reserve", "extend", "settle", "reap", "promote")
LOSS_WAIT_S: Final = 2.0  # a call that does not come by then is lost later, or never
PAUSE_S: Final = (0.2, 1.5)  # between two faults
SHORT_S: Final = (0.2, 0.5)
LONG_S: Final = (1.2 * LEASE_S, 2.5 * LEASE_S)

Part = Literal["call", "reply"]


class Nemesis:
    """Harms workers, their connections and their store; workers that it kills are started anew."""

    def __init__(self, world: World, rng: Random, *, start_worker: Callable[[], ServerProcess], workers: int) -> None:
        self.counts: Counter[str] = Counter()
        self._world = world
        self._rng = rng
        self._start_worker = start_worker
        self._workers = [start_worker() for _ in range(workers)]
        self._losses: list[tuple[str, Loss]] = []
        self._acts: dict[str, Callable[[], None]] = {
            "kill -9 of a worker (1)": self._kill,
            "SIGSTOP beyond the lease (7)": self._freeze,
            "CLIENT KILL (16)": self._kill_clients,
            "reply lost (23, 24)": lambda: self._lose("reply"),
            "call lost (25)": lambda: self._lose("call"),
            "blackhole beyond the lease (26)": self._blackhole,
            "RST of all connections (27)": self._reset,
            "maxmemory reached (29)": self._fill,
        }

    def act(self) -> None:
        """Do one thing of all those it can do, and then nothing for a while."""
        kind = self._rng.choice(list(self._acts))
        self._acts[kind]()
        if "lost" not in kind:
            self.counts[kind] += 1
        let_pass(self._rng.uniform(*PAUSE_S))

    def end(self) -> None:
        """Count what got lost: a call that was to be lost and never came harmed nobody."""
        self.counts.update(kind for kind, loss in self._losses if loss.happened.is_set())
        self._losses.clear()

    def _kill(self) -> None:
        place = self._rng.randrange(len(self._workers))
        self._workers[place].kill()
        self._workers[place] = self._start_worker()

    def _freeze(self) -> None:
        worker = self._rng.choice(self._workers)
        worker.signal(signal.SIGSTOP)
        let_pass(self._rng.uniform(*LONG_S))
        worker.signal(signal.SIGCONT)

    def _kill_clients(self) -> None:
        with self._world.redis.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _lose(self, part: Part) -> None:
        script = self._rng.choice(LOSABLE)
        lose = self._world.proxy.lose_call if part == "call" else self._world.proxy.lose_reply
        loss = lose(script, nth=self._rng.randint(1, 5))
        self._losses.append(("call lost (25)" if part == "call" else "reply lost (23, 24)", loss))
        loss.happened.wait(LOSS_WAIT_S)

    def _blackhole(self) -> None:
        self._world.proxy.blackhole()
        let_pass(self._rng.uniform(*LONG_S))
        self._world.proxy.heal()

    def _reset(self) -> None:
        self._world.proxy.reset()

    def _fill(self) -> None:
        with self._world.redis.client() as client:
            client.config_set("maxmemory", max(1, client.info("memory")["used_memory"] - 1))
            let_pass(self._rng.uniform(*SHORT_S) + self._rng.uniform(*SHORT_S))
            client.config_set("maxmemory", 0)
