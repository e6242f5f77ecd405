"""An old master, cut off with a client of its own, goes on taking writes: what is lost, and what bounds it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import MakeWorld
from tests.faults.proxy import FaultProxy
from tests.faults.sentinels import is_master, start, watch
from tests.faults.world import World, eventually
from tests.integration.server_process import ServerProcess
from tests.redis_servers import HOST, RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

JOBS = 20
FEW = 3  # each is tried for a while before it is answered with 503


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def divide(world: World, servers: ExitStack) -> tuple[FaultProxy, RedisServer]:
    """Give the master a replica and sentinels that come by a proxy, and return both; who comes directly stays with it.

    The proxy is the border: when it lets nothing through, the replica, the sentinels and all who ask them are on one
    side, and the master with those who know it by its own address on the other.
    """
    border = servers.enter_context(FaultProxy(world.redis.port, is_raw=True))
    replica = start(servers, {"replicaof": f"{HOST} {border.port}", "repl-diskless-sync-delay": "0"})
    watch(world, servers, replica, port=border.port)
    return border, replica


def is_replica_of(server: RedisServer, master: RedisServer) -> bool:
    with server.client() as client:
        about = client.info("replication")
    return (about["role"], about.get("master_port"), about.get("master_link_status")) == ("slave", master.port, "up")


def replicate(world: World) -> None:
    with world.redis.client() as client:
        assert client.wait(1, 20_000) == 1


def take(world: World, api: ServerProcess, taken: list[int]) -> bool:
    """Submit a job and say whether it was accepted."""
    job_id = world.post(api)
    taken += [] if job_id is None else [job_id]
    return job_id is not None


def test_what_an_isolated_master_took_is_lost_and_nothing_else(make_world: MakeWorld, servers: ExitStack) -> None:
    world = make_world(repl_diskless_sync_delay="0")
    border, replica = divide(world, servers)
    api, worker = world.api(), world.worker()
    api_alone, worker_alone = world.api(BACKEND_URL=world.redis.url), world.worker(BACKEND_URL=world.redis.url)
    world.warm_up()
    world.post_many(api, JOBS, "slow", payload={"ms": 50})
    replicate(world)

    border.blackhole()
    taken_alone = set(world.post_many(api_alone, JOBS))
    eventually(lambda: is_master(replica))
    world.note_end()
    eventually(lambda: world.post(api))
    world.post_many(api, JOBS)
    taken_alone |= set(world.post_many(api_alone, JOBS))
    eventually(lambda: taken_alone <= {run.job_id for run in world.log.runs() if run.ended_s is not None})
    border.heal()
    eventually(lambda: is_replica_of(world.redis, replica))
    world.masters = [replica]
    world.drain()

    refused = world.post(api_alone)
    assert all(process.is_running for process in (api, worker, api_alone, worker_alone))
    store = world.check(Allow(lost=taken_alone.__contains__, overlap=True, rewound=True))
    assert taken_alone.isdisjoint(store.jobs())
    assert refused is None


def test_a_master_that_needs_a_replica_takes_little_once_it_is_isolated(
    make_world: MakeWorld, servers: ExitStack
) -> None:
    world = make_world(repl_diskless_sync_delay="0", min_replicas_to_write="1", min_replicas_max_lag="1")
    border, replica = divide(world, servers)
    api, api_alone = world.api(), world.api(BACKEND_URL=world.redis.url)
    world.worker()
    world.warm_up()
    world.post_many(api, JOBS)
    replicate(world)

    border.blackhole()
    taken_alone: list[int] = []
    eventually(lambda: not take(world, api_alone, taken_alone))
    late = [world.post(api_alone) for _ in range(FEW)]
    eventually(lambda: is_master(replica))
    world.note_end()
    late += [world.post(api_alone) for _ in range(FEW)]
    world.masters = [replica]
    eventually(lambda: world.post(api))
    world.drain()

    print(f"{len(taken_alone)} jobs were taken between the cut and the first refusal")
    assert set(late) == {None}
    world.check(Allow(lost=taken_alone.__contains__, overlap=True, rewound=True))
