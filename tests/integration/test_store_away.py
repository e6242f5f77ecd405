"""What clients and probes see while the store is away: 503 where it matters, never the store's own words."""

from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.cut_store import SECRET
from tests.integration.metrics_page import DEPTH, sample, samples
from tests.integration.server_process import ServerProcess

pytestmark = pytest.mark.slow  # a process each

ERROR = "the job store is unavailable; try again later"


@pytest.fixture(params=["true", "false"], ids=["fast lane", "full way"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> ServerProcess:
    return start_server(app="cut_store:app", env={"FAST_LANE": request.param})


def test_it_is_alive_but_not_ready_until_the_store_is_back(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "away").touch()
    alive, ready = server.get("/healthz"), server.get("/readyz")

    (tmp_path / "away").unlink()
    ready_again = server.get("/readyz")

    assert (alive.status, alive.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (503, {"status": "store unavailable"})
    assert ready_again.status == 200


def test_a_job_of_unknown_fate_is_named_so_that_it_can_be_asked_for(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "away").touch()

    answer = server.post("/jobs", b'{"type":"ok"}')

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert {name: answer.json[name] for name in ("error", "accepted")} == {"error": ERROR, "accepted": "unknown"}
    assert answer.json["id"].isdecimal()


def test_a_look_up_that_fails_says_no_more_than_to_try_again(server: ServerProcess, tmp_path: Path) -> None:
    job = server.submit("ok")
    (tmp_path / "away").touch()

    answer = server.get(f"/jobs/{job['id']}")

    assert (answer.status, answer.json) == (503, {"error": ERROR})
    assert SECRET.encode() not in answer.body


def test_the_counters_are_shown_all_the_same(server: ServerProcess, tmp_path: Path) -> None:
    server.submit("ok")
    (tmp_path / "away").touch()

    assert sample(server, "gotaskq_jobs_enqueued_total", type="ok") == 1
    assert DEPTH not in {name for name, _, _ in samples(server)}
    assert server.get("/queue").status == 503
