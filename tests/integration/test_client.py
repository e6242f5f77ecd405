"""The client against a real service: jobs, waiting, events that go on, dead letters, queues."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.server_process import ServerProcess

from gotaskq.client import ApiError, AsyncClient, Client, NoAnswerError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {"MAX_RETRIES": "0", "NUM_WORKERS": "4"}
    process = ServerProcess(app="apps:app", env=env, folder=tmp_path_factory.mktemp("server"))
    yield process
    process.kill()


def url_of(server: ServerProcess) -> str:
    return f"http://{server.address[0]}:{server.address[1]}"


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(url_of(server)) as client:
        yield client


def test_a_job_is_stored_and_waited_for(client: Client) -> None:
    assert client.enqueue("ok", {"n": 1}, wait=20).status == "DONE"
    assert client.wait(client.enqueue("ok").id).status == "DONE"
    assert client.enqueue_many([{"type": "ok"}, {"type": "ok"}]).errors == []


def test_a_job_is_watched_to_its_end(client: Client, tmp_path: Path) -> None:
    job = client.enqueue("wait", {"folder": str(tmp_path)})
    events = client.events(job.id)

    first = next(events)
    (tmp_path / "go").touch()
    rest = list(events)

    assert first.data["id"] == job.id
    assert rest[-1].name == "job.done"


def test_a_job_is_cancelled_and_deleted(client: Client, tmp_path: Path) -> None:
    job = client.enqueue("wait", {"folder": str(tmp_path)}, delay=3_600)

    assert client.cancel(job.id).status == "CANCELLED"
    client.delete(job.id)
    with pytest.raises(ApiError, match="404"):
        client.get(job.id)


def test_a_dead_letter_is_found_replayed_and_deleted(client: Client) -> None:
    job = client.enqueue("fail", wait=20)

    assert job.id in {dead.id for dead in client.dlq.list()}
    back = client.dlq.replay(job.id, patch={"to": "a@b.c"})
    assert (back.replays, back.payload) == (1, {"to": "a@b.c"})
    assert back.replayed_at == back.updated_at
    assert client.wait(job.id).status == "DEAD"
    [line] = [line for line in client.dlq.export(type="fail") if job.id in line]
    assert client.dlq.import_(iter([line, "", line])).replayed == 1
    assert client.wait(job.id).replays == 2
    client.dlq.delete(job.id)
    assert job.id not in {dead.id for dead in client.dlq.list()}


def test_queues_and_types_are_seen(client: Client) -> None:
    client.queues.create("mail")

    assert "mail" in client.queues.names()
    assert "ok" in {known.type for known in client.types()}
    with pytest.raises(ApiError, match="409"):
        client.queues.create("mail")


async def test_all_of_it_without_blocking(server: ServerProcess, tmp_path: Path) -> None:
    async with AsyncClient(url_of(server)) as client:
        assert (await client.enqueue("ok", wait=20)).status == "DONE"
        job = await client.enqueue("wait", {"folder": str(tmp_path)})
        names = []
        async for event in client.events(job.id):
            names.append(event.name)
            (tmp_path / "go").touch()

        dead = await client.enqueue("fail", wait=20)
        [line] = [line async for line in client.dlq.export(q=dead.id)]
        taken = [(await client.dlq.import_([line])).replayed for _ in range(2)]
        back = await client.wait(dead.id)
        again = await client.dlq.replay(dead.id, patch={"n": 1})

    assert names[-1] == "job.done"
    assert (taken, back.replays, again.payload) == ([1, 0], 1, {"n": 1})


def test_a_service_that_is_not_there_is_said(server: ServerProcess) -> None:
    with Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(NoAnswerError, match="POST /jobs"):
        client.enqueue("ok")
