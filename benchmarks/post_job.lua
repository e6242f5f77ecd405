-- What wrk sends (one job, the body from JOB_BODY) and, at the end, its findings as one line of JSON.
-- Used by tools.py; by hand: wrk -t1 -c100 -d5s -s benchmarks/post_job.lua http://127.0.0.1:8000/jobs

local example = '{"type":"logger","payload":{"msg":"hello"},"priority":5,"delay":0,"max_retries":5}'

wrk.method = "POST"
wrk.body = os.getenv("JOB_BODY") or example
wrk.headers["Content-Type"] = "application/json"

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"answered":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"bad_statuses":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
