"""Processes that come and go while there is work: told to end under a storm, recycled, quiet, old beside new."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.faults.world import PLAIN, WITHIN_S, World, eventually
from tests.integration.http_client import Connection, request
from tests.integration.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CLIENTS = 8


class Client:
    """Submits jobs over connections it keeps for as long as it may, and notes how each call ended."""

    def __init__(self, world: World, server: ServerProcess, over: threading.Event) -> None:
        self._world = world
        self._server = server
        self._over = over
        self.refused = 0  # connections
        self.cut: list[str] = []  # calls on connections that were in use and had not been told that they would end

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with Connection(self._server.address) as connection:
                    self._use(connection)
            except ConnectionError:
                self.refused += 1
                self._over.wait(0.005)

    def _use(self, connection: Connection) -> None:
        """Submit jobs over this connection until it ends."""
        history, is_used = self._world.history, False
        while not self._over.is_set():
            key = history.invoke("post")
            try:
                connection.send(request("POST", "/jobs", b'{"type":"noop","payload":{"key":"%b"}}' % key.encode()))
                answer = connection.read()
            except ConnectionError as error:
                history.lose(key, repr(error))
                if is_used:
                    self.cut.append(repr(error))
                return
            if answer.status == 201:
                history.ok(key, int(answer.json["id"]))
            else:
                history.fail(key, answer.status)
            if answer.headers.get("connection") == "close":
                return
            is_used = True


@contextmanager
def storm(world: World, server: ServerProcess) -> Iterator[list[Client]]:
    """Let clients submit jobs as fast as they can while the body runs."""
    over = threading.Event()
    clients = [Client(world, server, over) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        over.set()
        for thread in threads:
            thread.join(WITHIN_S)


def posted(world: World, more: int) -> None:
    """Wait until so many more jobs have been accepted."""
    accepted = len(world.history.accepted)
    eventually(lambda: len(world.history.accepted) >= accepted + more)


@pytest.mark.parametrize("fast_lane", ["true", "false"])
def test_every_job_posted_while_a_process_is_told_to_end_is_answered(world: World, fast_lane: str) -> None:
    server = world.worker(FAST_LANE=fast_lane)
    world.warm_up(spares=[PLAIN])

    with storm(world, server) as clients:
        posted(world, 50)
        exit_code = server.stop()
        eventually(lambda: all(client.refused for client in clients))
    world.worker()
    world.note_end()
    world.drain()

    assert exit_code == 0
    assert [client.cut for client in clients] == [[]] * CLIENTS
    assert set(world.history.refused.values()) <= {"503"}
    # A connection made in the instant in which the port closes may be reset; nothing was read of it.
    stored = {json.loads(job.payload)["key"] for job in world.check().jobs().values()}
    assert not world.history.unknown.keys() & stored


def test_processes_that_are_replaced_cut_nobody(world: World) -> None:
    world.warm_up(spares=[PLAIN])
    server = world.worker("--processes", "2", MAX_JOBS="200")

    with storm(world, server) as clients:
        eventually(lambda: server.stderr.count("process replaced") >= 4)
    exit_code = server.stop()
    world.worker()
    world.note_end()
    world.drain()

    assert exit_code == 0
    assert [client.cut for client in clients] == [[]] * CLIENTS
    assert "process ended" not in server.stderr
    world.check()


def test_jobs_move_from_quiet_workers_to_new_ones(world: World) -> None:
    api, old = world.api(), world.worker()
    world.warm_up(spares=[PLAIN])
    long = world.post_many(api, 4, "slow", payload={"ms": 1_000})
    eventually(lambda: set(long) <= world.log.running())

    old.signal(signal.SIGUSR1)
    old.wait_for_line("quiet: no more jobs are fetched")
    new = world.worker()
    later = world.post_many(api, 40, "slow", payload={"ms": 10})
    world.note_end()
    world.drain()

    jobs = world.check().jobs()
    assert {run.pid for run in world.log.runs() if run.job_id in later} == {new.pid}
    assert {(jobs[job_id].status, jobs[job_id].count("at")) for job_id in (*long, *later)} == {("DONE", 1)}
    assert (old.is_running, old.stop()) == (True, 0)


def test_a_rolling_deploy_loses_nothing_and_spends_no_attempt(world: World) -> None:
    """Three old workers that lack a type and have other scripts are replaced one by one while both types come in."""
    api = world.api()
    world.warm_up(spares=[PLAIN] * 3)
    with ExitStack() as posting:
        fleet = [world.worker(app="tests.faults.newer:app", HANDLER_TYPES="slow") for _ in range(3)]
        posting.enter_context(world.posting(lambda: api, clients=2, job_type="slow", payload={"ms": 20}))
        posting.enter_context(world.posting(lambda: api, clients=1, job_type="noop"))
        fleet[0].wait_for_line("job_released")
        for old in fleet:
            world.worker()
            world.note_end()
            posted(world, 50)
            assert old.stop() == 0
    with world.redis.client() as client:
        client.script_flush()
    world.drain()

    jobs = world.check().jobs()
    assert set(world.history.accepted) == jobs.keys()
    assert {(job.status, job.count("rt"), job.count("cr")) for job in jobs.values()} == {("DONE", 0, 0)}
    assert any(job.count("rl") for job in jobs.values()), "no job was given back by an old worker"
