"""The commands that talk to a service: what they print, and what they exit with."""

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.integration.server_process import ServerProcess, eventually, run_command, running_server

from gotaskq.api.security.tokens import Scope, new_token


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {"MAX_RETRIES": "0", "CALLBACK_SECRET": "whsec_c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="}
    with running_server(env=env, folder=tmp_path_factory.mktemp("server")) as server:
        yield server


def run(server: ServerProcess, *words: str, **env: str) -> CompletedProcess[str]:
    host, port = server.address
    return run_command(*words, env={"GOTASKQ_URL": f"http://{host}:{port}", **env})


def printed(ran: CompletedProcess[str]) -> object:
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return json.loads(ran.stdout)


def test_a_job_is_stored_run_and_shown(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"big": 12345678901234567890}')

    done = printed(run(server, "enqueue", "ok", "--payload", f"@{tmp_path}/payload.json", "--wait", "20", "--json"))

    assert isinstance(done, dict)
    assert (done["status"], done["payload"]) == ("DONE", {"big": 12345678901234567890})
    shown = run(server, "job", "get", done["id"])
    assert "DONE" in shown.stdout
    assert "reasons" in run(server, "job", "explain", done["id"], "--json").stdout
    assert "job.done" in run(server, "job", "watch", done["id"]).stdout


def test_a_job_is_stored_with_its_callback(server: ServerProcess) -> None:
    words = ("--callback", "https://a.example/ended", "--callback-on", "done,cancelled")

    job = printed(run(server, "enqueue", "ok", "--delay", "1h", *words, "--json"))
    assert isinstance(job, dict)
    callback = printed(run(server, "job", "get", job["headers"]["gotaskq-callback"], "--json"))

    assert isinstance(callback, dict)
    assert (callback["type"], callback["queue"]) == ("gotaskq.callback", "callbacks")
    assert callback["payload"]["url"] == "https://a.example/ended"
    assert callback["payload"]["on"] == ["done", "cancelled"]


def test_a_job_that_waits_is_listed_cancelled_and_deleted(server: ServerProcess) -> None:
    job = printed(run(server, "enqueue", "ok", "--delay", "1h", "--priority", "7", "--json"))

    assert isinstance(job, dict)
    assert (job["delay"], job["priority"]) == (3600.0, 7)
    assert job["id"] in run(server, "job", "list", "--status", "PENDING").stdout
    assert "CANCELLED" in run(server, "job", "cancel", job["id"]).stdout
    assert job["id"] in run(server, "job", "delete", job["id"]).stdout
    gone = run(server, "job", "get", job["id"])
    assert (gone.returncode, gone.stderr) == (1, "gotaskq: 404: can't get job with this id\n")


def test_the_workers_are_listed(server: ServerProcess) -> None:
    shown = printed(run(server, "workers", "--json"))

    assert isinstance(shown, list)
    [worker] = shown
    assert (worker["pid"], worker["slots"], worker["quiet"]) == (server.pid, 10, False)
    assert "ok" in worker["types"]
    assert run(server, "workers").stdout.splitlines()[1].startswith(worker["id"])


def test_dead_letters_are_counted_before_they_are_brought_back(server: ServerProcess) -> None:
    dead = printed(run(server, "enqueue", "fail", "--wait", "20", "--json"))

    assert isinstance(dead, dict)
    assert dead["status"] == "DEAD"
    assert dead["id"] in run(server, "dlq", "list", "--type", "fail").stdout
    assert "apps.py:fail" in run(server, "dlq", "summary").stdout
    assert printed(run(server, "dlq", "replay", "--type", "fail", "--dry-run", "--json")) == {
        "matched": 1,
        "replayed": 0,
        "complete": True,
    }
    refused = run(server, "dlq", "replay", "--type", "fail")  # nobody is there to answer
    assert (refused.returncode, "run 1 dead jobs again?" in refused.stderr) == (1, True)
    assert printed(run(server, "dlq", "replay", "--type", "fail", "--yes", "--json")) == {
        "matched": 1,
        "replayed": 1,
        "complete": True,
    }
    assert run(server, "dlq", "replay").returncode == 2


def test_dead_letters_come_back_patched_and_at_a_rate(server: ServerProcess) -> None:
    dead = printed(run(server, "enqueue", "fail", "--payload", '{"a":1,"b":2}', "--wait", "20", "--json"))
    assert isinstance(dead, dict)
    patch = ("--patch", '{"a":null,"c":3}')

    tried = printed(run(server, "dlq", "replay", "--type", "fail", *patch, "--dry-run", "--json"))
    begun = printed(run(server, "dlq", "replay", "--type", "fail", *patch, "--rate", "50", "--yes", "--json"))

    assert isinstance(tried, dict)
    assert isinstance(begun, dict)
    assert tried["example"] == {"id": dead["id"], "before": {"a": 1, "b": 2}, "after": {"b": 2, "c": 3}}
    assert begun["action"] == "retry"
    eventually(lambda: (job := server.job(dead["id"]))["status"] == "DEAD" and job.get("replays") == 1)
    one = printed(run(server, "dlq", "replay", dead["id"], "--patch", '{"b":4}', "--json"))
    assert isinstance(one, dict)
    assert one["payload"] == {"b": 4, "c": 3}
    server.wait_for_status(dead["id"], "DEAD")
    for text in ("null", "{"):
        assert run(server, "dlq", "replay", "--all", "--patch", text).returncode == 2


def test_a_queue_is_made_seen_and_steered(server: ServerProcess) -> None:
    run(server, "queue", "create", "mail")

    assert "mail" in run(server, "queue", "list").stdout.splitlines()
    assert "paused" in run(server, "queue", "pause", "mail").stdout
    assert printed(run(server, "enqueue", "ok", "--queue", "mail", "--json"))
    stats = printed(run(server, "queue", "stats", "mail", "--json"))
    assert isinstance(stats, dict)
    assert (stats["ready"], stats["paused"]) == (1, True)
    assert run(server, "queue", "purge", "mail", "--yes").returncode == 0
    assert run(server, "queue", "resume", "mail").returncode == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("enqueue", "ok", "--payload", "{"), "--payload"),
        (("enqueue", "ok", "--payload", "@no-such-file"), "--payload"),
        (("enqueue", "ok", "--delay", "soon"), "--delay"),
        (("enqueue", "ok", "--callback-on", "done"), "--callback-on"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    server: ServerProcess, words: tuple[str, ...], named: str
) -> None:
    ran = run(server, *words)

    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert named in ran.stderr


def test_a_service_that_is_not_there_is_exit_code_1() -> None:
    for words in (("queue", "list"), ("health",), ("health", "--ready")):
        ran = run_command(*words, "--url", "http://127.0.0.1:9")
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1), ran.stderr


def test_health_is_for_probes(server: ServerProcess) -> None:
    assert run(server, "health", "--ready").stdout == "ok\n"


def test_the_token_comes_from_the_environment(tmp_path: Path) -> None:
    sent, token = new_token("cli", [Scope.READ])
    with running_server(env={"TOKENS": token.line()}, folder=tmp_path) as server:
        refused = run(server, "queue", "list")
        allowed = run(server, "queue", "list", GOTASKQ_TOKEN=sent)

    assert (refused.returncode, refused.stderr) == (1, "gotaskq: 401: a valid bearer token is needed\n")
    assert "default" in allowed.stdout


def test_a_token_is_made_once_and_its_line_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokens"

    made = run_command("token", "new", "--name", "shop", "--scopes", "submit", "--append", str(file))
    again = run_command("token", "new", "--name", "shop", "--append", str(file))
    wrong = run_command("token", "new", "--name", "ops", "--scopes", "everything")

    assert made.stdout.startswith("gtq_shop_")
    assert made.stdout.strip() not in file.read_text()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert (again.returncode, wrong.returncode) == (2, 2)
    assert file.read_text().count("shop") == 1


def test_dead_letters_go_to_a_file_and_come_back_from_it(server: ServerProcess, tmp_path: Path) -> None:
    dead = printed(
        run(server, "enqueue", "fail", "--payload", '{"to":"nobody \u2028 at all"}', "--wait", "20", "--json")
    )
    assert isinstance(dead, dict)
    [line] = [line for line in run(server, "dlq", "export", "--type", "fail").stdout.split("\n") if dead["id"] in line]
    file = tmp_path / "dead.jsonl"
    file.write_text(f"{line}\n\n{{}}\n")

    taken = run(server, "dlq", "import", str(file))
    again = json.loads(run(server, "dlq", "import", str(file), "--json").stdout)

    assert taken.returncode == 1
    assert taken.stderr == "gotaskq: line 3: invalid json: Object missing required field `id`\n"
    assert (again["lines"], again["already"], len(again["errors"])) == (2, 1, 1)
    assert server.job(dead["id"])["replays"] == 1
