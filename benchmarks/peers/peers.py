"""The table of peers: which libraries, with which settings, and what is asked of each.

Settings are the fastest found for a worker that can have at least eight jobs in hand at once, as one whose jobs wait
for something must. Three come a second time with one job at a time, where they are faster, or can do no other.
"""

from dataclasses import dataclass
from enum import Enum

ROOM = 20_000  # jobs drained
SLOW_ROOM = 2_000


class Kind(Enum):
    """What is measured of each library; the value is the role its program plays."""

    ONE = "one"
    MANY = "many"
    BULK = "bulk"
    DRAIN = "work"
    LATENCY = "timed"


ENQUEUES = (Kind.ONE, Kind.MANY, Kind.BULK)
WITHOUT_BULK = frozenset(Kind) - {Kind.BULK}
WORKER_ONLY = frozenset({Kind.DRAIN, Kind.LATENCY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library with the settings it is measured with; `slots` is how many jobs its worker runs at once."""

    name: str
    module: str
    package: str
    requirements: str | None  # the file that makes its environment; None for ours
    slots: int
    settings: str
    kinds: frozenset[Kind] = WITHOUT_BULK
    jobs: int = ROOM


OURS = Peer(
    name="gotaskq",
    module="gotaskq",
    package="gotaskq",
    requirements=None,
    slots=10,
    settings="10 slots; leased, settled, kept 5 min",
    kinds=frozenset(Kind),
)

PEERS = (
    Peer(
        name="arq",
        module="arq",
        package="arq",
        requirements="arq",
        slots=50,
        settings="50 jobs, polls every 10 ms; no results",
    ),
    Peer(
        name="taskiq",
        module="taskiq",
        package="taskiq",
        requirements="taskiq",
        slots=100,
        settings="list broker, 100 tasks; acknowledges nothing",
    ),
    Peer(
        name="taskiq-stream",
        module="taskiq_stream",
        package="taskiq",
        requirements="taskiq",
        slots=100,
        settings="stream broker, 100 tasks; acknowledges",
    ),
    Peer(name="saq", module="saq", package="saq", requirements="saq", slots=20, settings="20 tasks; no results"),
    Peer(
        name="streaq",
        module="streaq",
        package="streaq",
        requirements="streaq",
        slots=50,
        settings="50 tasks; no results",
        kinds=frozenset(Kind),
    ),
    Peer(
        name="dramatiq",
        module="dramatiq",
        package="dramatiq",
        requirements="dramatiq",
        slots=8,
        settings="8 threads, 1,000 fetched ahead, no middleware",
    ),
    Peer(
        name="celery",
        module="celery",
        package="celery",
        requirements="celery",
        slots=8,
        settings="8 threads, 512 fetched ahead; results ignored",
    ),
    Peer(
        name="huey",
        module="huey",
        package="huey",
        requirements="huey",
        slots=8,
        settings="8 threads; acknowledges nothing, no results",
    ),
    Peer(
        name="rq",
        module="rq",
        package="rq",
        requirements="rq",
        slots=1,
        settings="SimpleWorker: one job at a time; no results",
        kinds=frozenset(Kind),
        jobs=SLOW_ROOM,
    ),
    Peer(
        name="dramatiq-1",
        module="dramatiq",
        package="dramatiq",
        requirements="dramatiq",
        slots=1,
        settings="as dramatiq, but one thread",
        kinds=WORKER_ONLY,
    ),
    Peer(
        name="huey-1",
        module="huey",
        package="huey",
        requirements="huey",
        slots=1,
        settings="as huey, but one thread",
        kinds=WORKER_ONLY,
    ),
)
