"""Asks how many jobs a second `POST /jobs/batch` takes in, a hundred a request, beside one job a request.

No workers run. Both sides are driven by our own generator, which can send a body of any size; it costs about as much as
the server, so the single side is slower than with wrk and the ratio flatters a little.
"""

import http.client
from functools import partial

from benchmarks.harness import Options, Server, ServerSpec, serving
from benchmarks.processes import HOST
from benchmarks.questions.http_ingestion import OURS as SINGLE
from benchmarks.report import Goal, Row
from benchmarks.tools import JSON, Load, drive
from benchmarks.turns import Figures, Turns

QUESTION = "bulk ingestion, memory: POST /jobs/batch, 100 jobs a request"

JOBS = 100  # a request
CONNECTIONS = 20  # 2,000 jobs under way; more only wait
BATCH = ServerSpec(
    name="POST /jobs/batch",
    argv=SINGLE.argv,
    env=SINGLE.env,
    path="/jobs/batch",
    body=f'{{"jobs":[{",".join([SINGLE.body] * JOBS)}]}}',
)
ENOUGH = Goal(bound=200_000, of="ours")
ANSWER_WAIT_S = 10.0


def measure(options: Options) -> list[Row]:
    """Measure batches and single jobs in turns; a server without the endpoint gives a row that says so."""
    with serving(BATCH) as server:
        refusal = _refusal(server)
    if refusal:
        return [Row(question=BATCH.name, ours=0, unit="jobs/s", goal=ENOUGH, note=refusal)]
    turns = Turns(
        options,
        {
            BATCH.name: partial(jobs_per_s, BATCH, options, jobs=JOBS, connections=CONNECTIONS),
            "single": partial(jobs_per_s, SINGLE, options, jobs=1, connections=options.connections),
        },
    )
    return [turns.row(BATCH.name, ours=BATCH.name, figure="jobs_per_s", unit="jobs/s", against="single", goal=ENOUGH)]


def _refusal(server: Server) -> str:
    """Send one batch; return why it was refused, or nothing."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=ANSWER_WAIT_S)
    try:
        connection.request("POST", BATCH.path, body=BATCH.body, headers={"Content-Type": JSON})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    return "" if answer.status == 201 else f"not measured: {BATCH.path} answers {answer.status}: {text[:100]}"


def jobs_per_s(spec: ServerSpec, options: Options, *, jobs: int, connections: int) -> Figures:
    """Start a server, warm it up, and return how many jobs a second it took in, at `jobs` a request."""
    with serving(spec) as server:
        for duration_s in (options.warmup_s, options.duration_s):
            load = Load(url=server.url + spec.path, body=spec.body, duration_s=duration_s, connections=connections)
            result = drive("loadgen", load)
    return {"jobs_per_s": result.requests_per_s * jobs}
