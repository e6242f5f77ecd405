"""What can go wrong in a simulation, and how much of it a seed draws.

Each seed takes some of the faults allowed and none of the others (swarm testing): a bug that one fault hides from
another then still has its seeds, and some seeds have no fault at all.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final


class Fault(Enum):
    """One kind of misfortune; the values are the words of `--faults`."""

    # of a single call to the store
    REFUSE = "refuse"  # an error at once, and nothing was done
    DROP = "drop"  # the request is lost: an error later, and nothing was done
    LOSE_REPLY = "lose-reply"  # it was done, and nobody hears of it
    DUPLICATE = "duplicate"  # it is done twice, the second time late
    DELAY = "delay"  # it takes seconds
    # of a process
    PARTITION = "partition"  # cut off from the store for a while
    FREEZE = "freeze"  # stands still, perhaps for longer than a lease
    KILL = "kill"  # gone without a word; another starts
    STOP = "stop"  # drains and ends; another starts
    # of the store
    RESTART = "restart"  # back at an earlier state: what came after is lost


ALL_FAULTS: Final = frozenset(Fault)
OF_CALLS: Final = (Fault.REFUSE, Fault.DROP, Fault.LOSE_REPLY, Fault.DUPLICATE, Fault.DELAY)
BLOWS: Final = (Fault.PARTITION, Fault.FREEZE, Fault.KILL, Fault.STOP, Fault.RESTART)

CHANCE_OF_PEACE: Final = 0.1  # share of the seeds without any fault: there, the least deviation is a bug
LEAST_RATE: Final = 0.003  # of calls hit by a fault of calls; the rates are drawn between, evenly by their logarithm
MOST_RATE: Final = 0.2
BLOW_EVERY_S: Final = (1.0, 8.0)


def parse_faults(names: str) -> frozenset[Fault]:
    """Read a list such as `drop,kill`; raises ValueError for a word that names no fault."""
    return frozenset(Fault(name.strip()) for name in names.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong in one seed: how often each fault hits a call, and which blows fall at which pace."""

    rates: tuple[tuple[Fault, float], ...]
    blows: tuple[Fault, ...]
    blow_every_s: float
    is_shuffled: bool  # False: callbacks run first come first served, as asyncio's own loop does it

    def __str__(self) -> str:
        parts = [f"{fault.value} {rate:.1%}" for fault, rate in self.rates]
        if self.blows:
            parts.append(f"{'/'.join(fault.value for fault in self.blows)} every {self.blow_every_s:.1f} s")
        return ", ".join(parts) or "none"


def draw_plan(allowed: Collection[Fault], rng: Random) -> Plan:
    """Draw a seed's share of misfortune."""
    is_peaceful = rng.random() < CHANCE_OF_PEACE
    drawn = [fault for fault in Fault if fault in allowed and rng.random() < 0.5 and not is_peaceful]
    return Plan(
        rates=tuple(
            (fault, LEAST_RATE * (MOST_RATE / LEAST_RATE) ** rng.random()) for fault in drawn if fault in OF_CALLS
        ),
        blows=tuple(fault for fault in drawn if fault in BLOWS),
        blow_every_s=rng.uniform(*BLOW_EVERY_S),
        is_shuffled=rng.random() < 0.75,
    )
