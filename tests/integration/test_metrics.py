"""The metrics page of a real server: the original's seven names and labels, one of our own, right counts, and
bounded labels.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.http_client import request
from tests.integration.metrics_page import DEPTH, sample, samples
from tests.integration.server_process import ServerProcess, eventually, running_server

FAMILIES = {
    "gotaskq_jobs_enqueued": ("counter", {"queue", "type"}),
    "gotaskq_jobs_processed": ("counter", {"queue", "type", "status"}),
    "gotaskq_job_duration_seconds": ("histogram", {"queue", "type"}),
    "gotaskq_queue_depth": ("gauge", {"queue"}),
    "gotaskq_jobs": ("gauge", {"queue", "state"}),
    "gotaskq_queue_oldest_ready_seconds": ("gauge", {"queue"}),
    "gotaskq_queue_paused": ("gauge", {"queue"}),
    "gotaskq_dlq_depth": ("gauge", {"queue"}),
    "gotaskq_active_workers": ("gauge", set()),
    "gotaskq_quiet_processes": ("gauge", set()),
    "gotaskq_abandoned_handlers": ("gauge", set()),
    "gotaskq_backend_epoch_changes": ("counter", set()),
    "gotaskq_jobs_retried": ("counter", {"queue", "type"}),
    "gotaskq_jobs_dead": ("counter", {"queue", "type"}),
}
GO_CLIENT_BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"]
BATCH = 30


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on which the queue `mail` has seen one job done, one done at its third attempt, and one dead."""
    with running_server(env={"BASE_DELAY": "1", "MAX_DELAY": "1", "NUM_WORKERS": "3"}) as server:
        server.post("/queue/mail")
        for job_type, status in (("ok", "DONE"), ("flaky", "DONE"), ("fail", "DEAD")):
            job = server.submit(job_type, queue="mail", max_retries=2)
            server.wait_for_status(job["id"], status)
        yield server


@pytest.fixture
def no_workers() -> Iterator[ServerProcess]:
    with running_server("--no-workers") as server:
        yield server


def test_the_page_has_the_originals_names_types_and_labels_and_two_of_ours(server: ServerProcess) -> None:
    page = server.get("/metrics").body.decode()

    families = {family.name: family for family in text_string_to_metric_families(page)}

    assert {name: family.type for name, family in families.items()} == {
        **{name: kind for name, (kind, _) in FAMILIES.items()},
        "gotaskq_deliveries": "counter",  # without samples until something was delivered
        "gotaskq_loop_stall_seconds": "histogram",
        "gotaskq_event_loop_lag_seconds": "gauge",
    }
    for name, (_, labels) in FAMILIES.items():
        assert families[name].documentation
        assert {frozenset(sample.labels) - {"le"} for sample in families[name].samples} == {frozenset(labels)}


def test_counters_carry_the_originals_suffix(server: ServerProcess) -> None:
    names = {name for name, _, _ in samples(server)}

    assert {f"{name}_total" for name, (kind, _) in FAMILIES.items() if kind == "counter"} <= names


@pytest.mark.parametrize(
    ("job_type", "done", "failed", "retried", "dead"), [("ok", 1, 0, 0, 0), ("flaky", 1, 2, 2, 0), ("fail", 0, 3, 2, 1)]
)
def test_each_attempt_is_counted_once(
    server: ServerProcess, job_type: str, done: int, failed: int, retried: int, dead: int
) -> None:
    labels = {"queue": "mail", "type": job_type}

    counted = [
        sample(server, "gotaskq_jobs_enqueued_total", **labels),
        sample(server, "gotaskq_jobs_processed_total", status="done", **labels),
        sample(server, "gotaskq_jobs_processed_total", status="failed", **labels),
        sample(server, "gotaskq_jobs_retried_total", **labels),
        sample(server, "gotaskq_jobs_dead_total", **labels),
        sample(server, "gotaskq_job_duration_seconds_count", **labels),
    ]

    assert counted == [1, done, failed, retried, dead, done + failed]


def test_durations_have_the_originals_buckets_and_cumulate(server: ServerProcess) -> None:
    buckets = [
        (labels["le"], value)
        for name, labels, value in samples(server)
        if name == "gotaskq_job_duration_seconds_bucket" and labels["type"] == "fail"
    ]

    assert [bound for bound, _ in buckets] == GO_CLIENT_BUCKETS
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    assert sample(server, "gotaskq_job_duration_seconds_sum", type="fail") >= 0


def test_the_depth_counts_what_waits_due_or_not(server: ServerProcess) -> None:
    server.post("/queue/waiting")
    server.submit("ok", queue="waiting", delay=3600)

    depths = {labels["queue"]: value for name, labels, value in samples(server) if name == DEPTH}

    assert (depths["mail"], depths["waiting"], depths["default"]) == (0, 1, 0)


def test_active_workers_are_the_attempts_that_run_now(server: ServerProcess, tmp_path: Path) -> None:
    jobs = [server.submit("wait", {"folder": str(tmp_path)}) for _ in range(2)]
    for job in jobs:
        server.wait_for_status(job["id"], "RUNNING")

    running = sample(server, "gotaskq_active_workers")

    assert running == 2
    (tmp_path / "go").touch()
    eventually(lambda: sample(server, "gotaskq_active_workers") == 0)


def test_ten_thousand_types_nobody_handles_are_one_series(no_workers: ServerProcess) -> None:
    before = len(samples(no_workers))

    with no_workers.connect() as connection:
        for first in range(0, 10_000, BATCH):
            numbers = range(first, min(first + BATCH, 10_000))
            connection.send(b"".join(request("POST", "/jobs", b'{"type":"t%d"}' % number) for number in numbers))
            assert {connection.read().status for _ in numbers} == {201}

    labels = {"queue": "default", "type": "other"}
    assert sample(no_workers, "gotaskq_jobs_enqueued_total", **labels) == 10_000
    assert sample(no_workers, "gotaskq_jobs_enqueued_total") == 10_000
    assert len(samples(no_workers)) - before < 50


def test_a_type_with_a_handler_keeps_its_name_among_strangers(no_workers: ServerProcess) -> None:
    for job_type in ("stranger", "ok", "other", "stranger"):
        no_workers.submit(job_type)

    counted = {
        labels["type"]: value for name, labels, value in samples(no_workers) if name == "gotaskq_jobs_enqueued_total"
    }

    assert counted == {"ok": 1, "other": 3}


def test_queues_beyond_fifty_are_one_series(no_workers: ServerProcess) -> None:
    for number in range(70):
        no_workers.post(f"/queue/queue-{number}")
        no_workers.submit("ok", queue=f"queue-{number}")

    enqueued = [labels for name, labels, _ in samples(no_workers) if name == "gotaskq_jobs_enqueued_total"]
    depths = [labels["queue"] for name, labels, _ in samples(no_workers) if name == DEPTH]

    assert len(enqueued) <= 51
    assert len(depths) == len(set(depths)) <= 51
    assert sample(no_workers, "gotaskq_jobs_enqueued_total") == 70
    assert sample(no_workers, DEPTH) == 70
    assert sample(no_workers, DEPTH, queue="other") == 70 - len(enqueued) + 1
