"""Metrics: each event counts where it should, and no caller can make the page grow."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.engine.jobs import pending, running

from gotaskq.events import JobDied, JobDone, JobEnqueued, JobRetryScheduled, JobsLost, LoopStalled
from gotaskq.governing import QueueStats
from gotaskq.job import DeathReason, Job
from gotaskq.metrics import BUCKETS_S, MAX_QUEUES, MAX_TYPES, OTHER, Counted, Metrics, Series, add_up, at_rest
from gotaskq.prometheus import CONTENT_TYPE, render

JOB = running()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(has_handler=lambda job_type: job_type != "nobody")


def rows(metrics: Metrics) -> list[tuple[tuple[str, str], Series]]:
    return [((queue, job_type), series) for queue, job_type, series in metrics.counted(active_workers=0).series]


def only(metrics: Metrics) -> Series:
    [(_, series)] = rows(metrics)
    return series


def counts(series: Series) -> tuple[int, int, int, int, int]:
    return series.enqueued, series.done, series.failed, series.retried, series.dead


@pytest.mark.parametrize(
    ("count", "expected", "timed"),
    [
        (lambda metrics: metrics.count_enqueued([JobEnqueued(JOB)]), (1, 0, 0, 0, 0), 0),
        (lambda metrics: metrics.count_done([JobDone(JOB, 0.5)]), (0, 1, 0, 0, 0), 1),
        (lambda metrics: metrics.count_retried(JobRetryScheduled(JOB, "E", 5, 0.5)), (0, 0, 1, 1, 0), 1),
        (lambda metrics: metrics.count_dead(JobDied(JOB, DeathReason.NO_RETRY, "E", 0.5)), (0, 0, 1, 0, 1), 1),
        (lambda metrics: metrics.count_dead(JobDied(JOB, DeathReason.WORKER_LOST, "E", None)), (0, 0, 0, 0, 1), 0),
    ],
    ids=["enqueued", "done", "retried", "dead after an attempt", "dead without one"],
)
def test_an_event_counts_once_where_it_should(
    metrics: Metrics, count: Callable[[Metrics], None], expected: tuple[int, ...], timed: int
) -> None:
    count(metrics)

    assert counts(only(metrics)) == expected
    assert sum(only(metrics).buckets) == timed
    assert only(metrics).duration_s == 0.5 * timed


def test_each_queue_and_type_is_a_series(metrics: Metrics) -> None:
    for queue, job_type in [("b", "x"), ("a", "y"), ("a", "x"), ("b", "x")]:
        metrics.count_enqueued([JobEnqueued(pending(queue=queue, type=job_type))])

    assert [(labels, series.enqueued) for labels, series in rows(metrics)] == [
        (("a", "x"), 1),
        (("a", "y"), 1),
        (("b", "x"), 2),
    ]


@pytest.mark.parametrize(
    ("duration_s", "bucket"), [(0.0, 0), (0.005, 0), (0.0051, 1), (1.0, 7), (10.0, 10), (10.1, 11), (1e9, 11)]
)
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(
    metrics: Metrics, duration_s: float, bucket: int
) -> None:
    metrics.count_done([JobDone(JOB, duration_s)])

    assert only(metrics).buckets.index(1) == bucket


def test_types_without_a_handler_are_one_series(metrics: Metrics) -> None:
    metrics = Metrics(has_handler=lambda job_type: job_type == "email")

    for number in range(10_000):
        metrics.count_enqueued([JobEnqueued(pending(type=f"t{number}"))])
    metrics.count_enqueued([JobEnqueued(pending(type="email"))])

    assert [(labels, series.enqueued) for labels, series in rows(metrics)] == [
        (("default", "email"), 1),
        (("default", OTHER), 10_000),
    ]


def test_beyond_so_many_types_the_rest_are_one_series(metrics: Metrics) -> None:
    for number in range(MAX_TYPES + 50):
        metrics.count_enqueued([JobEnqueued(pending(type=f"t{number}"))])

    series = dict(rows(metrics))
    assert len(series) == MAX_TYPES + 1
    assert series["default", OTHER].enqueued == 50


def test_beyond_so_many_queues_the_rest_are_one_series(metrics: Metrics) -> None:
    for number in range(MAX_QUEUES + 50):
        metrics.count_enqueued([JobEnqueued(pending(queue=f"q{number}"))])

    series = dict(rows(metrics))
    assert len(series) == MAX_QUEUES + 1
    assert series[OTHER, "email"].enqueued == 50


def test_a_named_series_keeps_its_name_when_there_are_too_many(metrics: Metrics) -> None:
    for number in range(MAX_TYPES + 50):
        metrics.count_enqueued([JobEnqueued(pending(type=f"t{number}"))])

    metrics.count_done([JobDone(pending(type="t0"), 0.1)])
    metrics.count_done([JobDone(pending(type=f"t{MAX_TYPES + 1}"), 0.1)])

    series = dict(rows(metrics))
    assert (series["default", "t0"].done, series["default", OTHER].done) == (1, 1)


def test_a_handler_that_came_later_gets_its_name() -> None:
    handled: set[str] = set()
    metrics = Metrics(has_handler=handled.__contains__)
    metrics.count_enqueued([JobEnqueued(JOB)])

    handled.add(JOB.type)
    metrics.count_enqueued([JobEnqueued(JOB)])

    assert [labels for labels, _ in rows(metrics)] == [("default", "email"), ("default", OTHER)]


# ---- several processes

series = st.builds(
    Series,
    enqueued=st.integers(0, 9),
    done=st.integers(0, 9),
    failed=st.integers(0, 9),
    retried=st.integers(0, 9),
    dead=st.integers(0, 9),
    duration_s=st.integers(0, 9).map(float),  # whole, so that sums are exact in any order
    buckets=st.lists(st.integers(0, 9), min_size=len(BUCKETS_S) + 1, max_size=len(BUCKETS_S) + 1),
)
labels = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"))
processes = st.builds(
    Counted,
    series=st.dictionaries(labels, series).map(lambda found: [(*names, found[names]) for names in sorted(found)]),
    active_workers=st.integers(0, 9),
    quiet_processes=st.integers(0, 9),
    abandoned=st.integers(0, 9),
    epoch_changes=st.integers(0, 9),
)


def test_what_processes_counted_is_added_up_by_queue_and_type() -> None:
    first = Counted([("a", "x", Series(enqueued=2, duration_s=0.5)), ("b", "x", Series(dead=1))], 3, abandoned=1)
    second = Counted([("a", "x", Series(enqueued=5, done=1, duration_s=0.25))], 4, abandoned=2)

    assert add_up([first, second]) == Counted(
        [("a", "x", Series(enqueued=7, done=1, duration_s=0.75)), ("b", "x", Series(dead=1))], 7, abandoned=3
    )


def test_stalls_of_several_processes_add_up_and_the_worst_lag_is_shown(metrics: Metrics) -> None:
    metrics.count_stall(LoopStalled(1.5))
    one = metrics.counted(active_workers=0, loop_lag_s=0.5)
    metrics.count_stall(LoopStalled(200.0))
    other = metrics.counted(active_workers=0, loop_lag_s=0.25)

    found = samples(render(add_up([one, other]), queues={}))

    assert found[key("gotaskq_loop_stall_seconds_sum")] == 203.0
    assert found[key("gotaskq_loop_stall_seconds_bucket", le="1.0")] == 0
    assert found[key("gotaskq_loop_stall_seconds_bucket", le="2.0")] == 2
    assert found[key("gotaskq_loop_stall_seconds_count")] == 3
    assert found[key("gotaskq_event_loop_lag_seconds")] == 0.5


def test_deliveries_are_shown_by_type_and_outcome_and_outlive_their_process(metrics: Metrics) -> None:
    one = metrics.counted(active_workers=0, deliveries=[("email", "done", 2), ("nobody", "dead", 1)])
    other = at_rest(metrics.counted(active_workers=0, deliveries=[("email", "done", 3)]))

    found = samples(render(add_up([one, other]), queues={}))

    assert found[key("gotaskq_deliveries_total", type="email", outcome="done")] == 5
    assert found[key("gotaskq_deliveries_total", type=OTHER, outcome="dead")] == 1


def test_a_store_that_lost_its_jobs_counts_and_does_so_when_the_process_is_gone(metrics: Metrics) -> None:
    metrics.count_epoch_change(JobsLost(0))
    metrics.count_epoch_change(JobsLost(3))
    counted = metrics.counted(active_workers=1)

    found = samples(render(add_up([at_rest(counted), counted]), queues={}))

    assert found[key("gotaskq_backend_epoch_changes_total")] == 4


@given(a=processes, b=processes, c=processes)
def test_it_does_not_matter_who_adds_up_what_first(a: Counted, b: Counted, c: Counted) -> None:
    assert add_up([add_up([a, b]), c]) == add_up([c, add_up([b, a])]) == add_up([a, b, c])
    assert add_up([a]) == a


@given(processes)
def test_what_was_counted_survives_the_way_to_another_process(counted: Counted) -> None:
    assert msgspec.json.decode(msgspec.json.encode(counted), type=Counted) == counted


def test_what_was_counted_does_not_change_afterwards(metrics: Metrics) -> None:
    metrics.count_done([JobDone(JOB, 0.1)])
    before = metrics.counted(active_workers=1)

    metrics.count_done([JobDone(JOB, 0.1)])

    [(_, _, counted)] = before.series
    assert (counted.done, sum(counted.buckets)) == (1, 1)


# ---- the page


def page_of(metrics: Metrics, *, queues: Sequence[QueueStats], active_workers: int = 0) -> bytes:
    return render(metrics.counted(active_workers=active_workers), queues=metrics.gauges(queues))


def stats_of(
    name: str = "default", *, ready: int = 0, scheduled: int = 0, dead: int = 0, age_s: float = 0, paused: bool = False
) -> QueueStats:
    depth = ready + scheduled
    return QueueStats(
        name=name,
        ready=ready,
        scheduled=scheduled,
        running=0,
        dead=dead,
        depth=depth,
        paused=paused,
        latency_seconds=age_s,
    )


def samples(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_an_untouched_page_is_valid_and_shows_the_gauges(metrics: Metrics) -> None:
    page = page_of(metrics, queues=[stats_of()], active_workers=0)

    assert {name: value for name, value in samples(page).items() if "le" not in dict(name[1])} == {
        key("gotaskq_queue_depth", queue="default"): 0,
        **{key("gotaskq_jobs", queue="default", state=state): 0 for state in ("ready", "scheduled", "running", "dead")},
        key("gotaskq_queue_oldest_ready_seconds", queue="default"): 0,
        key("gotaskq_queue_paused", queue="default"): 0,
        key("gotaskq_dlq_depth", queue="default"): 0,
        key("gotaskq_active_workers"): 0,
        key("gotaskq_loop_stall_seconds_count"): 0,
        key("gotaskq_loop_stall_seconds_sum"): 0,
        key("gotaskq_event_loop_lag_seconds"): 0,
        key("gotaskq_quiet_processes"): 0,
        key("gotaskq_abandoned_handlers"): 0,
        key("gotaskq_backend_epoch_changes_total"): 0,
    }
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_the_page_shows_what_was_counted(metrics: Metrics) -> None:
    metrics.count_enqueued([JobEnqueued(JOB)])
    metrics.count_retried(JobRetryScheduled(JOB, "E", 5, 0.02))
    metrics.count_done([JobDone(JOB, 0.3)])

    found = samples(
        page_of(metrics, queues=[stats_of(ready=2, scheduled=3, dead=1, age_s=1.5, paused=True)], active_workers=4)
    )

    labels = {"queue": "default", "type": "email"}
    assert found[key("gotaskq_jobs_enqueued_total", **labels)] == 1
    assert found[key("gotaskq_jobs_processed_total", status="done", **labels)] == 1
    assert found[key("gotaskq_jobs_processed_total", status="failed", **labels)] == 1
    assert found[key("gotaskq_jobs_retried_total", **labels)] == 1
    assert found[key("gotaskq_jobs_dead_total", **labels)] == 0
    assert found[key("gotaskq_job_duration_seconds_count", **labels)] == 2
    assert found[key("gotaskq_job_duration_seconds_sum", **labels)] == pytest.approx(0.32)
    assert found[key("gotaskq_queue_depth", queue="default")] == 5
    assert found[key("gotaskq_jobs", queue="default", state="scheduled")] == 3
    assert found[key("gotaskq_queue_oldest_ready_seconds", queue="default")] == 1.5
    assert found[key("gotaskq_queue_paused", queue="default")] == 1
    assert found[key("gotaskq_dlq_depth", queue="default")] == 1
    assert found[key("gotaskq_active_workers")] == 4


def test_the_figures_of_queues_without_a_name_are_added_up(metrics: Metrics) -> None:
    queues = [stats_of(f"q{number:03}", ready=1, age_s=number) for number in range(MAX_QUEUES + 7)]

    found = samples(page_of(metrics, queues=queues, active_workers=0))

    depths = {labels: value for (name, labels), value in found.items() if name == "gotaskq_queue_depth"}
    assert len(depths) == MAX_QUEUES + 1
    assert depths[frozenset({("queue", OTHER)})] == 7
    assert found[key("gotaskq_jobs", queue=OTHER, state="ready")] == 7
    assert found[key("gotaskq_queue_oldest_ready_seconds", queue=OTHER)] == MAX_QUEUES + 6


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_histogram_cumulates_and_ends_with_the_count(durations_s: list[float]) -> None:
    metrics = Metrics(has_handler=lambda job_type: True)
    metrics.count_enqueued([JobEnqueued(JOB)])
    for duration_s in durations_s:
        metrics.count_done([JobDone(JOB, duration_s)])

    found = samples(page_of(metrics, queues=[], active_workers=0))

    labels = {"queue": "default", "type": "email"}
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    cumulated = [found[key("gotaskq_job_duration_seconds_bucket", le=bound, **labels)] for bound in bounds]
    assert cumulated == [sum(duration_s <= float(bound) for duration_s in durations_s) for bound in bounds]
    assert cumulated[-1] == found[key("gotaskq_job_duration_seconds_count", **labels)]


def test_two_apps_in_a_process_do_not_mix() -> None:
    def counting(job: Job) -> Metrics:
        metrics = Metrics(has_handler=lambda job_type: True)
        metrics.count_enqueued([JobEnqueued(job)])
        return metrics

    first, second = counting(JOB), counting(JOB)

    assert (only(first).enqueued, only(second).enqueued) == (1, 1)
