"""The way into a Redis store for code that cannot await: scripts, scheduled programs, WSGI.

It speaks the same scripts and records as the backend, through the plain client of redis-py. Safe to share by threads.
Invariant: as there, what was answered for is stored, and a call that is sent again stores nothing twice.
"""

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias, TypeVar, cast

import redis
from redis import exceptions as refusals
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from gotaskq.backend import Enqueued, EnqueueReply
from gotaskq.backends.redis.codec import decode_job, rows_of
from gotaskq.backends.redis.connection import FIRST_PAUSE_S, MAX_PAUSE_S, PASSING, Fate, StoreFaultError
from gotaskq.backends.redis.governor import read_rules, spell_limits, spell_retention
from gotaskq.backends.redis.intake import ANSWER_WITHIN_S, MAX_JOBS
from gotaskq.backends.redis.keys import NEVER, SCHEMA, Keys, member
from gotaskq.backends.redis.partitions import chunks, places_of
from gotaskq.backends.redis.rate_board import RateBoard
from gotaskq.backends.redis.registry import pairs
from gotaskq.backends.redis.scripts import Script, ScriptText
from gotaskq.backends.redis.submissions import read_enqueued, submission_arguments
from gotaskq.backends.redis.topology import CLIENT_NAME, CONNECT_TIMEOUT_S, Address, read_url
from gotaskq.clock import Clock
from gotaskq.errors import BackendUnavailableError, Quota, StoreFullError
from gotaskq.job import DEFAULT_QUEUE, Job, JobId
from gotaskq.queue_rules import QueueRules
from gotaskq.snowflake import partition_of
from gotaskq.store_limits import StoreLayout, StoreLimits

T = TypeVar("T")
Client: TypeAlias = "redis.Redis | RedisCluster"

OURS: Final = (Script.ENQUEUE, Script.GET, Script.CANCEL)
EACH_ON_ITS_OWN: Final = ""
ALL_OR_NONE: Final = "1"
KNOWN_FOR_S: Final = 1.0  # so long a queue counts as registered once it was seen to be

# What passes by itself, or once an operator has put it right; nothing was carried out, or it may be repeated.
PASSING_ERRORS: Final = (
    *(refusals.ConnectionError, refusals.TimeoutError, OSError, refusals.RedisClusterException),
    *(refusals.ReadOnlyError, refusals.ClusterDownError, refusals.TryAgainError, refusals.MovedError),
    *(refusals.AuthenticationError, refusals.NoPermissionError, refusals.MasterDownError),
)

logger = logging.getLogger(__name__)


class SyncRedis:
    """A store's entrance; it connects when it is first used, and belongs to the process that made it."""

    def __init__(
        self,
        url: str,
        limits: StoreLimits | None = None,
        *,
        clock: Clock,
        rng: Random,
        layout: StoreLayout | None = None,
    ) -> None:
        self._layout = layout or StoreLayout()
        self._limits = limits or StoreLimits()
        self._keys = Keys(self._layout.key_prefix)
        self._clock = clock
        self._rng = rng
        self._address = read_url(url)
        self._made: Client | None = None
        # As for servers that know no flags of scripts; all others take that too, so none need be asked for its version.
        self._scripts = {script: ScriptText(script, has_flags=False) for script in OURS}
        self._has_joined = False
        self.rules: dict[str, QueueRules] = {}  # of the queues that have some, as of a second ago at most
        self._rules_read_at_s = -KNOWN_FOR_S
        self._rates = RateBoard(self.rules, partitions=self._layout.partitions)
        self._registered = {DEFAULT_QUEUE}  # by us
        self._seen_at_s: dict[str, float] = {}  # queue → when it was last seen to be registered

    @property
    def partitions(self) -> int:
        """How many partitions new jobs are spread over."""
        return self._layout.partitions

    def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        """Store new PENDING jobs, each whole or not at all; idempotent by id and enqueue nonce.

        With `atomic` all or none; they are a few then, of one partition.
        Raises BackendUnavailableError or StoreFullError.
        """
        self._join()
        replies: list[EnqueueReply] = [Enqueued.OK] * len(jobs)
        for partition, places in places_of([job.id for job in jobs]):
            for some in chunks(places, MAX_JOBS):
                sent = [jobs[place] for place in some]
                limits = spell_limits(self._limits.max_queue_depth, self.rules, sent, partitions=self.partitions)
                how = ALL_OR_NONE if atomic else EACH_ON_ITS_OWN
                reply = self._run(Script.ENQUEUE, partition, how, limits, *self._arguments(sent))
                self._rates.hear(reply, partition, now_ms=self._now_ms())
                for place, enqueued in zip(some, read_enqueued(reply, len(some)), strict=True):
                    replies[place] = enqueued
        return replies

    def quota(self, queue: str) -> Quota | None:
        """Return what was left of a queue's rate limit when this door heard of it last."""
        return self._rates.quota(queue, now_ms=self._now_ms())

    def refresh_rules(self) -> None:
        """Read what is set for queues, if that was not done just now; a store that is away is the enqueue's to tell."""
        now_s = self._clock.monotonic_s()
        if now_s - self._rules_read_at_s < KNOWN_FOR_S:
            return
        try:
            rules = read_rules(pairs(self._client.hgetall(self._keys.rules)))
        except (refusals.RedisError, refusals.RedisClusterException, OSError):
            return
        self._rules_read_at_s = now_s
        for queue in self.rules.keys() - rules.keys():  # the same mapping stays: other threads read it
            self.rules.pop(queue, None)
        self.rules.update(rules)
        self._rates.forget()

    def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None; raises BackendUnavailableError."""
        if not 0 <= job_id < 1 << 63:
            return None
        self._join()
        [row] = rows_of(self._run(Script.GET, partition_of(job_id), member(job_id)))
        return decode_job(row)

    def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one; raises BackendUnavailableError."""
        if not 0 <= job_id < 1 << 63:
            return None
        self._join()
        self.refresh_rules()
        terms = spell_retention(self._limits.max_completed_jobs, self.rules, "complete_job_ttl_ms")
        return decode_job(self._run(Script.CANCEL, partition_of(job_id), member(job_id), terms))

    def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there. Raises BackendUnavailableError."""
        self._join()
        # The mark tells our own work from another's, should the first reply be lost and the call be sent again.
        mark = f"0 {self._rng.getrandbits(96):024x}"
        is_new = bool(self._persist(lambda: self._client.hsetnx(self._keys.queues, name, mark)))
        self._registered.add(name)
        return is_new or self._hget(self._keys.queues, name) == mark.encode()

    def close(self) -> None:
        """Let go of connections."""
        if self._made is not None:
            self._made.close()

    @property
    def _client(self) -> Any:  # either client, whose methods' types differ
        if self._made is None:  # two threads may both make one; the one that is forgotten closes itself
            self._made = made = _make_client(self._address)
            weakref.finalize(self, made.close)  # nobody closes the door of an app that is not open
        return self._made

    def _arguments(self, jobs: Sequence[Job]) -> Iterator[str | bytes | int]:
        for job in jobs:
            is_known, ttl_ms = self._knows(job.queue), self._limits.idempotency_ttl_ms
            yield from submission_arguments(job, is_known=is_known, idempotency_ttl_ms=ttl_ms)

    def _knows(self, queue: str) -> bool:
        now_s = self._clock.monotonic_s()
        seen_at_s = self._seen_at_s.get(queue)
        if seen_at_s is not None and now_s - seen_at_s < KNOWN_FOR_S:
            return True
        if self._hget(self._keys.queues, queue) is None:
            if queue not in self._registered:
                return False
            self._join_again()  # no queue is ever unregistered: the store has come back empty
        self._seen_at_s[queue] = now_s
        return True

    def _run(self, script: Script, partition: int, *arguments: str | bytes | int) -> Any:
        meta, text = self._keys.meta(partition), self._scripts[script]
        words = (2, meta, meta + NEVER, "", *arguments)  # "": live by the server's clock

        def evaluate() -> Any:
            try:
                return self._client.execute_command("EVALSHA", text.digest, *words)
            except refusals.NoScriptError:
                return self._client.execute_command("EVAL", text.text, *words)

        return self._persist(evaluate)

    def _join(self) -> None:
        """Agree with the store on its layout and its partitions, once; two threads may both do it."""
        if self._has_joined:
            return
        store = self._keys.store
        self._persist(lambda: self._client.hsetnx(store, "schema", str(SCHEMA)))
        schema = int(self._hget(store, "schema") or SCHEMA)
        if schema > SCHEMA:
            raise StoreFaultError(f"the store has layout {schema}, newer than ours ({SCHEMA}); upgrade GoTaskQ")
        if self._layout.partitions > int(self._hget(store, "partitions") or 0):
            self._persist(lambda: self._client.hset(store, "partitions", str(self._layout.partitions)))
        self._persist(lambda: self._client.hsetnx(self._keys.queues, DEFAULT_QUEUE, "0"))
        self._has_joined = True

    def _join_again(self) -> None:
        self._has_joined = False
        self._join()
        for queue in sorted(self._registered):
            self._persist(partial(self._client.hsetnx, self._keys.queues, queue, "0"))

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1000)

    def _hget(self, key: str, field: str) -> bytes | None:
        return cast("bytes | None", self._persist(lambda: self._client.hget(key, field)))

    def _persist(self, call: Callable[[], T]) -> T:
        """Make a call, again and again while its errors pass and there is time."""
        give_up_s = self._clock.monotonic_s() + ANSWER_WITHIN_S
        pause_s = FIRST_PAUSE_S
        may_have_run = False
        while True:
            try:
                return call()
            except (refusals.RedisError, refusals.RedisClusterException, OSError) as error:
                self._judge(error, may_have_run=may_have_run)
                may_have_run = may_have_run or not isinstance(error, refusals.ResponseError)
                pause_now_s = pause_s * self._rng.uniform(0.5, 1.0)
                if self._clock.monotonic_s() + pause_now_s >= give_up_s:
                    raise BackendUnavailableError(f"the job store did not answer: {type(error).__name__}") from error
            time.sleep(pause_now_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _judge(self, error: Exception, *, may_have_run: bool) -> None:
        """Return where a call may be sent again; raise where it may not."""
        match fate_of(error):
            case Fate.FULL if may_have_run:  # an earlier try brought what now finds no room, perhaps
                raise BackendUnavailableError("the job store did not answer, and is full now") from error
            case Fate.FULL:
                raise StoreFullError(self._rng.randint(5, 30)) from error
            case Fate.BUG:
                logger.error("the store refused a call", exc_info=error)
                raise StoreFaultError("the job store refused a call; the log says why") from error
            case Fate.PASSING:
                if isinstance(error, refusals.ReadOnlyError) and self._address.kind == "server":
                    # A master no more. Only a new connection leads to the one that is now behind this address.
                    self._client.connection_pool.disconnect(inuse_connections=False)


def fate_of(error: Exception) -> Fate:
    """Say what an error of redis-py means for the call."""
    if isinstance(error, refusals.ResponseError) and (
        isinstance(error, refusals.OutOfMemoryError) or "OOM" in str(error)
    ):
        return Fate.FULL
    is_passing = isinstance(error, PASSING_ERRORS) or str(error).partition(" ")[0] in PASSING
    return Fate.PASSING if is_passing else Fate.BUG


def _make_client(address: Address) -> Client:
    """Return a client for a server, for the master that Sentinels name, or for a Cluster."""
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": ANSWER_WITHIN_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": CLIENT_NAME,
        **_tls_options(address),
    }
    match address.kind:
        case "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]  # type: ignore[no-untyped-call]  # as shipped
            return RedisCluster(startup_nodes=nodes, **options)
        case "sentinel":
            about_sentinels = {
                "username": address.parameters.get("sentinel_username"),
                "password": address.parameters.get("sentinel_password"),
                "socket_timeout": CONNECT_TIMEOUT_S,
                **_tls_options(address),
            }
            sentinels = redis.Sentinel(address.hosts, sentinel_kwargs=about_sentinels)  # type: ignore[no-untyped-call]
            master = sentinels.master_for(address.master, db=address.database, **options)  # type: ignore[no-untyped-call]
            return cast("redis.Redis", master)
        case _:
            host, port = address.hosts[0]
            return redis.Redis(host=host, port=port, db=address.database, **options)


def _tls_options(address: Address) -> dict[str, Any]:
    if not address.has_tls:
        return {}
    given = {name: value for name, value in address.parameters.items() if name.startswith("ssl_")}
    return {"ssl": True, **given, "ssl_check_hostname": given.get("ssl_check_hostname") != "false"}
