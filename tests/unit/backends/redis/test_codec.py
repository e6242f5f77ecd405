"""The codec: what is read back equals what was written."""

from hypothesis import given
from hypothesis import strategies as st

from gotaskq.backends.redis.codec import decode_job, decode_leased, encode_record
from gotaskq.backends.redis.keys import member
from gotaskq.headers import encode_headers
from gotaskq.job import NO_TIMEOUTS, Job, JobId, Lease, Status, Timeouts, start
from gotaskq.trail import NO_TRAIL, Attempt, Trail

names = st.text(alphabet="abcXYZ019._-:/", min_size=1, max_size=20)
instants_ms = st.integers(1, 2**44)

new_jobs = st.builds(
    Job,
    id=st.integers(1, 2**63 - 1).map(JobId),
    type=names,
    queue=names,
    payload_json=st.binary(max_size=60),
    priority=st.integers(0, 10),
    delay_ms=st.just(0),
    max_retries=st.integers(0, 100),
    rank=st.integers(0, 2**53 - 1),
    created_at_ms=st.shared(instants_ms, key="at"),
    updated_at_ms=st.shared(instants_ms, key="at"),
    run_after_ms=st.shared(instants_ms, key="at"),
    enqueue_nonce=st.text(alphabet="0123456789abcdef", min_size=1, max_size=24),
    timeouts=st.builds(Timeouts, execution_ms=st.integers(0, 2**40), schedule_ms=st.integers(0, 2**40)),
    version=st.integers(1, 9),
    headers_json=st.dictionaries(
        st.text("az9-", min_size=1), st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"])), max_size=3
    ).map(encode_headers),
)


def state(status: str, *, attempt: str = "", nonce: str = "", finished: str = "", key: str = "") -> bytes:
    """Return a job's state as the scripts write it."""
    return f"{status}\t{attempt}\t{nonce}\t\t\tmail\t\t\t\t{finished}\t\t\t{key}".encode()


@given(new_jobs)
def test_a_new_job_is_its_record(job: Job) -> None:
    assert decode_job([member(job.id).encode(), encode_record(job)]) == job


@given(new_jobs, instants_ms)
def test_a_job_that_was_leased_is_one_that_was_started(job: Job, now_ms: int) -> None:
    leased = decode_leased([member(job.id).encode(), encode_record(job)], nonce="n", worker="w", now_ms=now_ms)

    assert leased == start(job, lease=Lease(job.id, "n"), worker="w", now_ms=now_ms)


def test_a_plain_job_says_nothing_of_what_it_does_not_have() -> None:
    record = b"5\t1000\tn\temail\tmail\t3\t0\t9\0{}"
    job = decode_job([b"7", record])

    assert job is not None
    assert (job.timeouts is NO_TIMEOUTS, job.version, job.trail is NO_TRAIL) == (True, 1, True)
    assert encode_record(job) == record


def test_parts_that_nobody_knows_yet_are_passed_over() -> None:
    job = decode_job([b"7", b"5\t1000\tn\temail\tmail\t3\t0\t9\ts20\tzebra\tv2\tt10\t\0{}"])

    assert job is not None
    assert (job.timeouts, job.version, job.payload_json) == (Timeouts(10, 20), 2, b"{}")


def test_headers_are_read_beside_parts_that_nobody_knows_yet() -> None:
    job = decode_job([b"7", b'5\t1000\tn\temail\tmail\t3\t0\t9\ts20\th{"a":"b"}\tzebra\tt10\0{}'])

    assert job is not None
    assert (job.headers, job.timeouts, job.payload_json) == ({"a": "b"}, Timeouts(10, 20), b"{}")


def test_a_result_and_a_trail_are_read() -> None:
    trail = [b"h0", b"10\t5\t6\thost:1\tE: x\nline\n\tline", b"h4", b"9\t3\t4\t\tworker lost\n"]
    trail += [b"pg", b"0.5\ta\tb", b"ck", b'{"a":1}']

    job = decode_job([b"7", b"5\t1000\tn\temail\tmail\t3\t0\t9\0{}", state("D", key="k:1") + b"\0\t0", trail])

    assert job is not None
    lost, failed = Attempt(9, 3, 4, "", "worker lost"), Attempt(10, 5, 6, "host:1", "E: x", "line\n\tline")
    assert job.trail == Trail((lost, failed), 0.5, "a\tb", b'{"a":1}')
    assert (job.result_json, job.result, job.unique_key) == (b"\t0", 0, "k:1")


def test_a_missing_record_is_no_job() -> None:
    assert decode_job([b"7", None]) is None


def test_a_state_lies_over_the_record() -> None:
    record = b"5\t1000\tn\temail\tmail\t3\t2000\t9\0{}"
    trail = [b"rt", b"2", b"dr", b"no_retry", b"er", b"E: x"]

    job = decode_job([b"00000000000000000007", record, state("X", attempt="3", finished="4000"), trail])

    assert job is not None
    assert (job.id, job.status, job.retry_count, job.attempt, job.finished_at_ms) == (7, Status.DEAD, 2, 3, 4000)
    assert (job.rank, job.priority, job.delay_ms, job.max_retries, job.queue) == (5, 3, 2000, 9, "mail")
    assert (job.error, job.lease, job.payload_json) == ("E: x", None, b"{}")


def test_a_lease_is_read_and_what_is_not_said_stays() -> None:
    job = decode_job([b"7", b"5\t1000\tn\temail\tmail\t3\t0\t9\0{}", state("R", nonce="t1"), []])

    assert job is not None
    assert (job.lease, job.trail is NO_TRAIL, job.result_json) == (Lease(JobId(7), "t1"), True, None)
    assert (job.created_at_ms, job.updated_at_ms, job.run_after_ms, job.started_at_ms) == (1000, 1000, 1000, None)
