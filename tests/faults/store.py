"""What a Redis store holds, read key by key with a plain client; knows the layout and nothing of our code.

Read it while nobody writes: a snapshot is many reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis

# The words of a job's state, by the names that docs/understand/redis.md gives them.
WORDS: Final = ("s", "at", "tk", "lt", "ow", "q", "st", "ua", "ra", "fi", "cx", "sx", "uq")
STATES: Final = {"P": "PENDING", "R": "RUNNING", "D": "DONE", "X": "DEAD", "C": "CANCELLED"}
BATCH: Final = 1_000

Fields = dict[str, str]
Scores = dict[int, float]  # job id → score


@dataclass(slots=True)
class StoredJob:
    """One job: what its body says, and the words of its state and its trail (empty: never touched)."""

    id: int
    rank: int
    created_at_ms: int
    nonce: str
    type: str
    queue: str
    priority: int
    delay_ms: int
    max_retries: int
    payload: bytes
    fields: Fields = field(default_factory=dict)
    schedule_ms: int = 0

    @property
    def status(self) -> str:
        """The word for its state."""
        return STATES[self.fields.get("s", "P")]

    def count(self, name: str) -> int:
        """Return a number among its fields; 0 where it has none."""
        return int(self.fields.get(name) or 0)


@dataclass(slots=True)
class Partition:
    """The keys of one partition."""

    tag: str
    jobs: dict[int, StoredJob] = field(default_factory=dict)
    orphans: dict[int, Fields] = field(default_factory=dict)  # states and trails without a body
    places: dict[str, Scores] = field(default_factory=dict)  # rdy:QUEUE, dly:QUEUE, run, dlq, fin, own, ids, exp
    unique_keys: Fields = field(default_factory=dict)  # unique key → the job that has it
    requests: Fields = field(default_factory=dict)  # digest of an idempotency key → the job that stands for it
    counters: dict[str, int] = field(default_factory=dict)
    claims: Fields = field(default_factory=dict)
    meta: Fields = field(default_factory=dict)
    boards: dict[str, list[set[str]]] = field(default_factory=dict)  # by name: keys listed, with digest, with body
    unknown_keys: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Store:
    """All partitions, and what is kept once for the store."""

    partitions: dict[str, Partition]
    queues: Fields

    def jobs(self) -> dict[int, StoredJob]:
        """Return every job by id."""
        return {job_id: job for partition in self.partitions.values() for job_id, job in partition.jobs.items()}

    def count(self, counter: str) -> int:
        """Return a counter, over all partitions."""
        return sum(partition.counters.get(counter, 0) for partition in self.partitions.values())

    def by_status(self) -> dict[str, int]:
        """Return how many jobs there are of each status."""
        counts = dict.fromkeys(STATES.values(), 0)
        for job in self.jobs().values():
            counts[job.status] += 1
        return counts


class StoreReader:
    """Reads a store from its server, or from each master of its cluster."""

    def __init__(self, clients: Sequence["redis.Redis"], *, prefix: str = "gotaskq") -> None:
        self._clients = clients
        self._base = f"{prefix}:2:"

    def read(self) -> Store:
        """Return what is stored now."""
        store = Store({}, {})
        for client in self._clients:
            _Reading(client, self._base, store).read()
        return store


class _Reading:
    """One server's part of a snapshot."""

    def __init__(self, client: "redis.Redis", base: str, store: Store) -> None:
        self._client: Any = client  # its types speak for the asyncio client too, and so for neither
        self._base = base
        self._store = store

    def read(self) -> None:
        names = [key.decode() for key in self._client.scan_iter(match=f"{self._base}*", count=BATCH)]
        bodies = [name for name in names if self._family(name) == "b"]
        states = [name for name in names if self._family(name) == "s"]
        trails = [name for name in names if self._family(name) == "t"]
        for name, body in zip(bodies, self._many("GET", bodies), strict=True):
            if isinstance(body, bytes):
                self._add_body(name, body)
        for name, state in zip(states, self._many("GET", states), strict=True):
            if isinstance(state, bytes):
                self._add_fields(name, _state_fields(state))
        for name, trail in zip(trails, self._many("HGETALL", trails), strict=True):
            if isinstance(trail, dict):
                read = {key.decode(): value.decode(errors="replace") for key, value in trail.items()}
                self._add_fields(name, read)
        for name in names:
            if self._family(name) not in ("b", "s", "t"):
                self._add_other(name)

    def _family(self, name: str) -> str:
        return name.removeprefix(self._base).partition("}:")[2].partition(":")[0]

    def _partition(self, name: str) -> Partition:
        tag = name.removeprefix(self._base).partition("}")[0] + "}"
        return self._store.partitions.setdefault(tag, Partition(tag))

    def _many(self, verb: str, names: Sequence[str]) -> list[object]:
        replies: list[object] = []
        for start in range(0, len(names), BATCH):
            pipeline = self._client.pipeline(transaction=False)
            for name in names[start : start + BATCH]:
                pipeline.execute_command(verb, name)
            replies += pipeline.execute()
        return replies

    def _add_body(self, name: str, body: bytes) -> None:
        head, _, payload = body.partition(b"\0")
        rank, created, nonce, job_type, queue, priority, delay, max_retries, *rare = head.decode().split("\t")
        job_id = int(name.rpartition(":")[2])
        numbers = int(priority), int(delay), int(max_retries)
        job = StoredJob(job_id, int(rank), int(created), nonce, job_type, queue, *numbers, payload)
        job.schedule_ms = next((int(part[1:]) for part in rare if part.startswith("s")), 0)
        self._partition(name).jobs[job_id] = job

    def _add_fields(self, name: str, fields: Fields) -> None:
        job_id = int(name.rpartition(":")[2])
        partition = self._partition(name)
        if job_id in partition.jobs:
            partition.jobs[job_id].fields |= fields
        else:
            partition.orphans[job_id] = partition.orphans.get(job_id, {}) | fields

    def _add_other(self, name: str) -> None:
        if name == f"{self._base}queues":
            self._store.queues |= self._hash(name)
            return
        if "}:" not in name:
            return
        partition = self._partition(name)
        place = name.partition("}:")[2]
        if self._family(name) in ("rdy", "dly", "run", "dlq", "fin", "own", "ids", "exp"):
            members = self._client.zrange(name, 0, -1, withscores=True)
            partition.places[place] = {int(member): score for member, score in members}
        elif place == "st":
            partition.counters = {key: int(value) for key, value in self._hash(name).items()}
        elif place == "uk":
            partition.unique_keys = self._hash(name)
        elif self._family(name) == "ik":
            kept = self._client.get(name) or b""
            partition.requests[name.rpartition(":")[2]] = kept.decode().split(" ")[1]
        elif self._family(name) == "rl":
            pass  # what is left of a queue's rate limit; gone within a minute
        elif place == "clm":
            partition.claims = self._hash(name)
        elif place == "meta":
            partition.meta = self._hash(name)
        elif self._family(name) == "nb":
            board = place.split(":")[1]
            partition.boards[board] = self._board(name.partition("}:")[0] + "}:nb:" + board)
        else:
            partition.unknown_keys.append(name)

    def _board(self, name: str) -> list[set[str]]:
        """Return the keys of a board's three parts, read at once: workers go on speaking, and what they said lapses."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.zrange(name, 0, -1).hkeys(f"{name}:d").hkeys(f"{name}:b")
        return [{key.decode() for key in keys} for keys in pipeline.execute()]

    def _hash(self, name: str) -> Fields:
        read = self._client.hgetall(name)
        return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in read.items()}


def _state_fields(state: bytes) -> Fields:
    words, has_result, result = state.partition(b"\0")
    read = dict(zip(WORDS, words.decode().split("\t"), strict=True))
    if has_result:
        read["re"] = result.decode()
    return {name: word for name, word in read.items() if word}
