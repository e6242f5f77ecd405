"""Servers that watch a master and put its replica in its place: what the tests of failovers share."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from tests.faults.world import World, eventually
from tests.redis_servers import HOST, RedisServer

COUNT: Final = 3
# A vote that nobody wins is held anew after twice the failover-timeout.
SENTINEL: Final = """
sentinel monitor main {host} {port} 2
sentinel down-after-milliseconds main 1000
sentinel failover-timeout main 2000
"""


def start(stack: ExitStack, config: Mapping[str, str] | None = None, *, sentinel: str | None = None) -> RedisServer:
    return stack.enter_context(RedisServer(config=config, sentinel=sentinel))


def watch(world: World, stack: ExitStack, replica: RedisServer, *, port: int) -> None:
    """Start sentinels that see the world's master at this port, and let processes ask them for it."""
    watching = SENTINEL.format(host=HOST, port=port)
    sentinels = [start(stack, sentinel=watching) for _ in range(COUNT)]
    for number, server in enumerate((replica, *sentinels), start=1):
        world.servers[f"server {number}"] = server
    world.url = f"redis+sentinel://{','.join(f'{HOST}:{sentinel.port}' for sentinel in sentinels)}/main"
    eventually(lambda: is_watched(world.redis, sentinels))


def is_watched(master: RedisServer, sentinels: Sequence[RedisServer]) -> bool:
    """Whether the master has its replica, and every sentinel knows of it and of the other two."""
    with master.client() as client:
        if client.info("replication").get("slave0", {}).get("state") != "online":
            return False
    for sentinel in sentinels:
        with sentinel.client() as client:
            about = client.info("sentinel")["master0"]
            if (about["status"], about["slaves"], about["sentinels"]) != ("ok", 1, 3):
                return False
    return True


def is_master(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.info("replication")["role"] == "master")
