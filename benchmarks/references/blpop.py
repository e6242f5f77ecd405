"""The least a hand-over by Redis to another process takes: it waits in BLPOP and writes down when each job came.

Run as `REDIS_URL=redis://127.0.0.1:6379/0 BENCH_STARTS=file python -m benchmarks.references.blpop`.
"""

import os
import time

from redis import Redis

from benchmarks.apps import STARTS_FILE
from benchmarks.references.naive_redis import URL
from benchmarks.workloads.bare_list import KEY


def main() -> None:
    """Write a line a job, until the process is ended."""
    starts = os.open(os.environ[STARTS_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Redis.from_url(os.environ[URL], socket_timeout=None) as redis:  # it may wait as long as it takes
        while True:
            redis.blpop([KEY])
            started_ns = time.monotonic_ns()
            os.write(starts, b"%d\n" % started_ns)


if __name__ == "__main__":
    main()
