"""What Hypothesis draws for the machine: small numbers, so that queues are full and jobs meet again."""

from typing import Final, NamedTuple

from hypothesis import strategies as st
from tests.property.model import Limits

from gotaskq.keys import Idempotency
from gotaskq.policies.scheduling import Turn

QUEUES: Final = (*["default"] * 5, *["mail"] * 4, "nowhere")  # the last one is never created
TYPES: Final = ("email.send", "sms.send")
LIMITS: Final = Limits(
    max_depth=4, max_ended=4, max_dead=3, ended_ttl_ms=60_005, dead_ttl_ms=120_005, request_ttl_ms=90_005
)
# Every delay, lease and step is a multiple of 10 ms and no time to live is: what happens at a limit is left open.
DELAYS_S: Final = (0, 0, 0, 5, 40)
SCHEDULES_S: Final = (0, 0, 5, 30)
LEASES_S: Final = (5, 30, 300)
CHANGED_PAYLOAD: Final = b'{"changed":"\\u0000\\t"}'
STEPS_S: Final = (0.01, 4.99, 5, 29, 30, 31, 70)


class NewJob(NamedTuple):
    """What is drawn of a job."""

    queue: str
    job_type: str
    priority: int
    delay_s: int
    schedule_s: int
    execution_s: int
    headers: dict[str, str] | None
    unique_key: str
    request: Idempotency | None


new_jobs = st.builds(
    NewJob,
    queue=st.sampled_from(QUEUES),
    job_type=st.sampled_from(TYPES),
    priority=st.sampled_from((0, 5, 10)),
    delay_s=st.sampled_from(DELAYS_S),
    schedule_s=st.sampled_from(SCHEDULES_S),
    execution_s=st.sampled_from((0, 0, 7)),
    headers=st.sampled_from((None, None, {"tenant": "größe"}, {"a": "\\t", "b": ""})),
    unique_key=st.sampled_from(("", "", "", "a", "b")),
    request=st.sampled_from(
        (None, None, None, Idempotency("d1", "f1"), Idempotency("d1", "f2"), Idempotency("d2", "f1"))
    ),
)
turns = st.lists(
    st.builds(Turn, queue=st.sampled_from(QUEUES), take=st.integers(0, 3)),
    min_size=1,
    max_size=2,
    unique_by=lambda turn: turn.queue,
)
places = st.integers(0, 5)
settlement_kinds = st.sampled_from(
    ("complete", "reschedule", "reschedule", "release", "unhandled", "cancel", "expired", "dead-letter", "dead-letter")
)
delays_ms = st.sampled_from(DELAYS_S).map(lambda delay_s: delay_s * 1000)
progresses = st.sampled_from(((None, "not heard"), (0.0, ""), (0.5, "half"), (1.0, "all\tdone")))
checkpoints = st.sampled_from((None, b"1", b'{"page":2}'))
other_jobs = st.sampled_from(({"enqueue_nonce": "another"}, {"enqueue_nonce": "another", "queue": "mail"}))
changes = st.fixed_dictionaries(
    {},
    optional={
        "delay_ms": st.sampled_from(DELAYS_S).map(lambda delay_s: delay_s * 1000),
        "priority": st.sampled_from((0, 5, 10)),
        "max_retries": st.integers(0, 2),
        "execution_ms": st.sampled_from((0, 7_000)),
        "schedule_ms": st.sampled_from((0, 5_000, 30_000)),
        "payload_json": st.sampled_from((b"null", CHANGED_PAYLOAD)),
    },
)
