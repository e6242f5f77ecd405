"""What clients and probes see while the store is away: 503 where it matters, never the store's own words."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from tests.integration.conftest import StartServer
from tests.integration.cut_store import SECRET
from tests.integration.http_client import Answer
from tests.integration.metrics_page import DEPTH, sample, samples
from tests.integration.server_process import ServerProcess

pytestmark = pytest.mark.slow  # a process each

ERROR = "the job store is unavailable; try again later"


def assert_conforms(server: ServerProcess, path: str, answer: Answer) -> None:
    """Fail unless the answer to a POST is as /openapi.json says."""
    document = server.get("/openapi.json").json
    described = document["paths"][path]["post"]["responses"][str(answer.status)]["content"]["application/json"]
    schema = described["schema"] | {"components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(answer.json)


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
    assert_conforms(server, "/jobs", answer)


@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_batch_of_unknown_fate_names_its_jobs_in_order(
    server: ServerProcess, tmp_path: Path, *, is_atomic: bool
) -> None:
    (tmp_path / "away").touch()

    answer = server.post("/jobs/batch", json.dumps({"jobs": [{"type": "ok"}] * 3, "atomic": is_atomic}).encode())

    fate = {"error": ERROR, "accepted": "unknown"}
    ids = answer.json["ids"]
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert ids == sorted(set(ids), key=int)
    assert len(ids) == 3
    assert answer.json == {
        **fate,
        "ids": ids,
        "jobs": [],
        "errors": [{"index": index, **fate, "id": job_id} for index, job_id in enumerate(ids)],
    }
    assert_conforms(server, "/jobs/batch", answer)


def test_lines_of_unknown_fate_are_named_beside_those_that_are_wrong(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "away").touch()
    lines = b'{"type":""}\n{"type":"ok"}\n{"type":"ok","priority":11}\n{"type":"ok"}'

    answer = server.ask("POST", "/jobs/batch", lines, headers={"content-type": "application/x-ndjson"})

    errors = answer.json["errors"]
    assert (answer.status, answer.json["error"], answer.json["accepted"]) == (503, ERROR, "unknown")
    assert "field" not in answer.json
    assert [error.get("field") for error in errors] == ["type", None, "priority", None]
    assert [error.get("id") for error in errors] == [None, answer.json["ids"][0], None, answer.json["ids"][1]]
    assert SECRET.encode() not in answer.body
    assert_conforms(server, "/jobs/batch", answer)


def test_an_atomic_batch_that_was_refused_before_the_store_was_asked_is_certain(
    server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "away").touch()

    answer = server.post("/jobs/batch", b'{"jobs":[{"type":"ok"},{"type":""}],"atomic":true}')

    assert (answer.status, answer.json["field"]) == (400, "type")
    assert "accepted" not in answer.json
    assert_conforms(server, "/jobs/batch", answer)


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
