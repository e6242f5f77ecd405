"""A lease line to Redis: extends leases from a thread, with blocking connections of its own, one a server.

Made by the backend for the engine's heartbeat. It finds servers by itself: the address, the master that Sentinels
name, or the one that a Cluster's MOVED points at, beginning with any.
Invariant: a server that fails costs one timeout a call of `extend`, and no lease that another server keeps.
"""

import contextlib
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

from redis import Redis, Sentinel
from redis import exceptions as refusals
from redis.backoff import NoBackoff
from redis.retry import Retry

from gotaskq.backend import Extended
from gotaskq.backends.redis.connection import FAILURES, words_of
from gotaskq.backends.redis.extensions import extensions, read_extended
from gotaskq.backends.redis.keys import NEVER, Keys
from gotaskq.backends.redis.scripts import ScriptText
from gotaskq.backends.redis.slots import Place
from gotaskq.backends.redis.topology import CLIENT_NAME, Address, sentinel_options, tls_options
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import Lease

MAX_REDIRECTIONS: Final = 3  # a slot that moves while we ask moves once


class RedisLeaseLine:
    """Belongs to the thread that uses it."""

    def __init__(
        self,
        address: Address,
        keys: Keys,
        *,
        script: ScriptText,
        timeout_s: float,
        test_clock: Callable[[], int] | None,
    ) -> None:
        self._address = address
        self._keys = keys
        self._script = script
        self._timeout_s = timeout_s
        self._test_clock = test_clock
        self._clients: dict[Place, Redis] = {}
        self._places: dict[int, Place] = {}  # where a partition was served last
        self._master: Place | None = None  # that Sentinels named
        self._failures = 0  # so far; in a Cluster, each lets the next search begin elsewhere

    def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended | None]:
        """Let the leases run `lease_ms` from now; None where a server did not answer."""
        replies: list[Extended | None] = [None] * len(leases)
        failed: dict[Place | None, Exception] = {}  # None: no server could be found
        for partition, positions, arguments in extensions(leases, lease_ms=lease_ms):
            if None in failed or (failed and self._address.kind != "cluster"):
                break  # there is nobody else to ask
            place = None
            try:
                place = self._places.get(partition) or self._find(failed)
                reply = self._call(partition, place, arguments, unless=failed)
            except FAILURES as failure:
                place = self._places.get(partition, place)  # it may have been sent on from there
                failed.setdefault(place, failure)
                self._forget(place)
                continue
            for position, extended in zip(positions, read_extended(reply), strict=True):
                replies[position] = extended
        if failed and not any(replies):
            [error, *_] = failed.values()
            raise BackendUnavailableError(f"the job store did not answer: {words_of(error)}") from error
        return replies

    def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            self._hang_up(client)
        self._clients.clear()

    @staticmethod
    def _hang_up(client: Redis) -> None:
        with contextlib.suppress(*FAILURES):
            client.close()

    def _call(
        self, partition: int, place: Place, arguments: Sequence[str | int], *, unless: Container[Place | None]
    ) -> bytes:
        """Run the script at a place, or where the server there says that the partition is; not `unless` it failed."""
        is_asking = False
        for _ in range(MAX_REDIRECTIONS):
            self._places[partition] = place
            if place in unless:
                raise ConnectionError(f"{place[0]}:{place[1]} has failed before")
            try:
                return self._evaluate(place, partition, arguments, is_asking=is_asking)
            except refusals.AskError as refused:  # or MovedError, which is one
                place = refused.host or place[0], refused.port  # a server that knows no name of its own leaves it out
                is_asking = not isinstance(refused, refusals.MovedError)
        raise ConnectionError(f"partition {partition} is sent from server to server")

    def _forget(self, place: Place | None) -> None:
        """Look for all that was at this place somewhere else, next time."""
        self._places = {partition: known for partition, known in self._places.items() if known != place}
        self._master = None
        self._failures += 1
        if place in self._clients:  # connect anew: an address that stays may lead to another server after a failover
            self._hang_up(self._clients[place])

    def _find(self, failed: Container[Place | None]) -> Place:
        """Return where to ask first for a partition of which nothing is known."""
        if self._address.kind == "sentinel":
            self._master = self._master or self._ask_sentinels()
            return self._master
        known = [place for place in dict.fromkeys((*self._address.hosts, *self._clients)) if place not in failed]
        if not known:
            raise ConnectionError("no server of the Cluster answers")
        return known[self._failures % len(known)]

    def _ask_sentinels(self) -> Place:
        options = sentinel_options(self._address, timeout_s=self._timeout_s)
        sentinels = Sentinel(self._address.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        try:
            host, port = sentinels.discover_master(self._address.master)  # type: ignore[no-untyped-call]
        finally:
            for sentinel in sentinels.sentinels:
                sentinel.close()
        return str(host), int(port)

    def _evaluate(self, place: Place, partition: int, arguments: Sequence[str | int], *, is_asking: bool) -> bytes:
        client = self._client_of(place)
        meta = self._keys.meta(partition)
        now_ms: str | int = "" if self._test_clock is None else self._test_clock()
        words = (2, meta, meta + NEVER, now_ms, *arguments)
        try:
            return self._send(client, ("EVALSHA", self._script.digest, *words), is_asking=is_asking)
        except refusals.NoScriptError:
            return self._send(client, ("EVAL", self._script.text, *words), is_asking=is_asking)

    @staticmethod
    def _send(client: Redis, words: Sequence[Any], *, is_asking: bool) -> bytes:
        if is_asking:  # there is one connection, so nothing comes between the two
            client.execute_command("ASKING")  # type: ignore[no-untyped-call]
        reply: bytes = client.execute_command(*words)  # type: ignore[no-untyped-call]
        return reply

    def _client_of(self, place: Place) -> Redis:
        client = self._clients.get(place)
        if client is None:
            client = self._clients[place] = self._connect(place)
        return client

    def _connect(self, place: Place) -> Redis:
        host, port = place
        has_password = self._address.password is not None
        return Redis(
            host=host,
            port=port,
            db=self._address.database,
            username=self._address.username if has_password else None,
            password=self._address.password,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),  # the heartbeat tries again
            client_name=CLIENT_NAME,
            protocol=2,
            **tls_options(self._address),
        )
