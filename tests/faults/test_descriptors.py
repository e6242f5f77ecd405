"""A server that runs out of file descriptors, or of room in a queue: it refuses, stays calm, and recovers (46, 47)."""

import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.world import eventually, let_pass
from tests.integration.http_client import Connection, request
from tests.integration.server_process import ServerProcess, running_server
from tests.redis_servers import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DESCRIPTORS = 64
CROWD = 100
FULL = 200
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = resource.getpagesize()


@pytest.fixture(params=["memory", "redis"])
def backend_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        yield stack.enter_context(RedisServer()).url if request.param == "redis" else "memory://"


def cpu_s(server: ServerProcess) -> float:
    """Return how much time of a processor the server has used so far."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def rss_bytes(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def answers(connection: Connection) -> list[int]:
    """Return the statuses of a POST and a look at the queues, on a connection that is there already."""
    return [connection.ask("POST", "/jobs", b'{"type":"ok"}').status, connection.ask("GET", "/queue").status]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and prlimit")
@pytest.mark.parametrize("fast_lane", ["true", "false"])
def test_without_descriptors_a_server_refuses_newcomers_serves_who_is_there_and_recovers(
    backend_url: str, fast_lane: str, tmp_path: Path
) -> None:
    env = {"BACKEND_URL": backend_url, "FAST_LANE": fast_lane}
    with running_server(env=env, folder=tmp_path) as server, server.connect() as kept, ExitStack() as crowd:
        before = answers(kept)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

        newcomers = [crowd.enter_context(socket.create_connection(server.address)) for _ in range(CROWD)]
        eventually(lambda: any(is_refused(newcomer) for newcomer in newcomers))
        began_s = cpu_s(server)
        meanwhile = [answers(kept) for _ in range(5)]
        let_pass(2)
        used_s = cpu_s(server) - began_s
        crowd.close()
        recovered = eventually(lambda: is_served(server))

    assert before == [201, 200]
    assert {status for pair in meanwhile for status in pair} <= {201, 200, 503}
    assert used_s < 1, "it is busy with connections that it cannot accept"
    assert recovered


def is_refused(connection: socket.socket) -> bool:
    """Say whether the server has hung up without having been asked anything."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def is_served(server: ServerProcess) -> bool:
    try:
        return server.ask_raw(request("POST", "/jobs", b'{"type":"ok"}')).status == 201
    except ConnectionError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_full_queue_refuses_with_a_time_to_come_back_and_keeps_nothing(backend_url: str, tmp_path: Path) -> None:
    env = {"BACKEND_URL": backend_url, "MAX_QUEUE_DEPTH": str(FULL)}
    body = b'{"type":"ok","payload":"%b"}' % (b"x" * 10_000)
    with running_server("--no-workers", env=env, folder=tmp_path) as server, server.connect() as client:
        taken = [client.ask("POST", "/jobs", body).status for _ in range(FULL)]
        refused = [client.ask("POST", "/jobs", body) for _ in range(500)]
        held = rss_bytes(server)
        refused += [client.ask("POST", "/jobs", body) for _ in range(3_000)]
        grown = rss_bytes(server) - held

    assert set(taken) == {201}
    assert {answer.status for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert grown < 3_000 * len(body) / 10, "it keeps what it refuses"
