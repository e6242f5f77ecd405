"""More than one server: a Sentinel's failover, a Cluster that loses a master, and a partition that moves."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import MakeWorld
from tests.faults.sentinels import SENTINEL, is_master, start, watch
from tests.faults.world import World, eventually, let_pass
from tests.redis_servers import HOST, RedisServer, free_port
from tests.redis_stores import CLUSTER_RIGHTS, RIGHTS

from gotaskq import Settings, TaskQ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MASTERS = 3
PARTITIONS = 6
SLOTS = 16_384


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_failover_costs_what_was_not_replicated_and_no_more(make_world: MakeWorld, servers: ExitStack) -> None:
    world = make_world(repl_diskless_sync_delay="0")
    replica = start(servers, {"replicaof": f"{HOST} {world.redis.port}"})
    watch(world, servers, replica, port=world.redis.port)
    api, worker = world.api(), world.worker()
    world.warm_up()
    world.post_many(api, 20, "slow", payload={"ms": 50})
    with world.redis.client() as client:
        assert client.wait(1, 20_000) == 1
    replicated = set(world.history.accepted)

    with world.posting(lambda: api, clients=2):
        eventually(lambda: len(world.history.accepted) > len(replicated) + 20)
        world.redis.kill()
        eventually(lambda: is_master(replica))
        world.note_end()
        accepted = len(world.history.accepted)
        eventually(lambda: len(world.history.accepted) > accepted + 20)
    world.masters = [replica]
    world.drain()

    assert (api.is_running, worker.is_running) == (True, True)
    store = world.check(Allow(lost=lambda job_id: job_id not in replicated, overlap=True, rewound=True))
    print(f"lost {len(world.history.accepted.keys() - store.jobs().keys())} of {len(world.history.accepted)}")


def test_a_blocked_loop_loses_no_lease_behind_sentinels(world: World, servers: ExitStack) -> None:
    sentinel = start(servers, sentinel=SENTINEL.format(host=HOST, port=world.redis.port))
    world.url = f"redis+sentinel://{HOST}:{sentinel.port}/main"

    block_a_loop_and_lose_nothing(world, partitions=1)


def block_a_loop_and_lose_nothing(world: World, *, partitions: int) -> None:
    """Let a worker hold a job of every partition while one of its handlers blocks its loop for three leases."""
    api, _ = world.api(PARTITIONS=str(partitions)), world.worker(PARTITIONS=str(partitions), NUM_WORKERS="16")
    world.warm_up(spares=[{"PARTITIONS": str(partitions)}])
    others = world.post_many(api, 12, "slow", payload={"ms": 2_000})
    eventually(lambda: set(others) <= world.log.started())
    [blocking] = world.post_many(api, 1, "block", payload={"ms": 3_000})
    eventually(lambda: blocking in world.log.started())

    world.worker(PARTITIONS=str(partitions))  # who would take what lapses
    world.drain()
    world.note_end(at_s=world.log.ended_s(blocking))

    jobs = world.check().jobs()
    assert {(jobs[job_id].count("at"), jobs[job_id].count("cr")) for job_id in (*others, blocking)} == {(1, 0)}


def test_code_that_cannot_await_finds_the_master_through_sentinels(servers: ExitStack) -> None:
    master = start(servers)
    sentinel = start(servers, sentinel=f"sentinel monitor main {HOST} {master.port} 1")
    app = TaskQ(f"redis+sentinel://{HOST}:{sentinel.port}/main/2")

    job = app.enqueue_sync("email")

    assert app.get_sync(job.id) == job
    with master.client() as client:
        assert "db2" in client.info("keyspace")


@pytest.fixture
def cluster(world: World, servers: ExitStack, tmp_path: Path) -> World:
    """Give a world of three masters that share the slots, each with every write on disk; ours are a user's rights."""
    users = tmp_path / "users.acl"
    rights = f"{RIGHTS.format('gotaskq:2:')} {CLUSTER_RIGHTS}"
    users.write_text(f"user default on nopass ~* &* +@all\nuser jobs on >s3cret {rights}\n")
    config = {
        "aclfile": str(users),
        "cluster-enabled": "yes",
        "cluster-node-timeout": "2000",
        "cluster-require-full-coverage": "no",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    buses = [str(free_port()) for _ in range(MASTERS)]
    world.masters = [start(servers, {**config, "cluster-port": bus}) for bus in buses]
    for number, master in enumerate(world.masters):
        first, last = number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS - 1
        with master.client() as client:
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", HOST, world.masters[0].port, buses[0])
    eventually(lambda: all(is_whole(master) for master in world.masters))
    world.url = f"redis+cluster://jobs:s3cret@{','.join(f'{HOST}:{master.port}' for master in world.masters)}"
    return world


def is_whole(master: RedisServer) -> bool:
    with master.client() as client:
        about = client.execute_command("CLUSTER INFO")
        state, nodes = about["cluster_state"], int(about["cluster_known_nodes"])
        return bool(state == "ok") and nodes == MASTERS and count_slots(client.execute_command("CLUSTER NODES"))


def count_slots(nodes: Mapping[str, Mapping[str, object]]) -> bool:
    return all(node["slots"] for node in nodes.values())


def test_a_cluster_uses_all_its_masters_and_outlives_the_crash_of_one(cluster: World) -> None:
    api, worker = cluster.api(PARTITIONS=str(PARTITIONS)), cluster.worker(PARTITIONS=str(PARTITIONS))
    cluster.post_many(api, 60)
    cluster.drain()
    before = cluster.check()
    cluster.warm_up()

    with cluster.posting(lambda: api, clients=2):
        cluster.masters[1].kill()
        eventually(lambda: len(cluster.history.unknown) > 2)
        cluster.masters[1].start()
        eventually(lambda: is_whole(cluster.masters[1]))
        cluster.note_end()
        unknown, accepted = len(cluster.history.unknown), len(cluster.history.accepted)
        eventually(lambda: len(cluster.history.accepted) > accepted + 6 * PARTITIONS)
    cluster.drain()

    assert (len(before.partitions), min(len(part.jobs) for part in before.partitions.values())) == (PARTITIONS, 10)
    assert (api.is_running, worker.is_running, unknown > 0) == (True, True, True)
    cluster.check(Allow(overlap=True))


def test_a_blocked_loop_loses_no_lease_in_a_cluster(cluster: World) -> None:
    block_a_loop_and_lose_nothing(cluster, partitions=PARTITIONS)


def test_code_that_cannot_await_reaches_every_master_of_a_cluster(cluster: World) -> None:
    app = TaskQ(cluster.url, settings=Settings(partitions=PARTITIONS))

    jobs = [app.enqueue_sync("email") for _ in range(2 * PARTITIONS)]

    assert [app.get_sync(job.id) for job in jobs] == jobs
    for master in cluster.masters:
        with master.client() as client:
            assert client.dbsize() > 0


def move_at_once(source: RedisServer, target: RedisServer, slot: int) -> None:
    """Move a slot the atomic way, which Valkey has from 9 on."""
    with source.client() as client, target.client() as other:
        node = other.execute_command("CLUSTER", "MYID").decode()
        client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", node)
        eventually(lambda: client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0)


def move_key_by_key(source: RedisServer, target: RedisServer, slot: int) -> None:
    """Move a slot as `--cluster reshard` does, so slowly that calls come in between."""
    with source.client() as client, target.client() as other:
        nodes = [side.execute_command("CLUSTER", "MYID").decode() for side in (client, other)]
        other.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", nodes[0])
        client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", nodes[1])
        while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 4):
            client.execute_command("MIGRATE", HOST, target.port, "", 0, 5_000, "KEYS", *keys)
            let_pass(0.02)
        for side in (other, client):
            side.execute_command("CLUSTER", "SETSLOT", slot, "NODE", nodes[1])


@pytest.mark.parametrize("move", [move_at_once, move_key_by_key], ids=lambda move: move.__name__)
def test_a_partition_moves_to_another_master_while_it_is_busy(
    cluster: World, move: Callable[[RedisServer, RedisServer, int], None]
) -> None:
    api, worker = cluster.api(PARTITIONS="2"), cluster.worker(PARTITIONS="2")
    cluster.warm_up()
    [tag] = [tag for tag in cluster.store().partitions if tag.startswith("{0")]
    source, target = cluster.masters[0], cluster.masters[1]

    with cluster.posting(lambda: api, clients=2, job_type="slow", payload={"ms": 20}):
        with source.client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", tag)
        move(source, target, slot)
        cluster.note_end()
        accepted = len(cluster.history.accepted)
        eventually(lambda: len(cluster.history.accepted) > accepted + 40)
    cluster.drain()

    assert worker.is_running
    cluster.check(Allow(overlap=True))
