#!/bin/sh
# A worker of POSIX sh and curl: it runs jobs of type `shout` and ends once none has come for WAIT seconds.
#
#     gotaskq run --no-workers &
#     curl -X POST http://127.0.0.1:8000/jobs -H 'content-type: application/json' \
#         -d '{"type":"shout","payload":{"text":"hello"}}'
#     sh examples/remote_worker.sh http://127.0.0.1:8000
#
# Where the service has tokens, put one with scope `work` in TOKEN.
set -u
URL=${1:-http://127.0.0.1:8000}
WAIT=${WAIT:-20}
LEASE=30

# post PATH BODY: print the answer, then its status on a line of its own. It is tried again while the service is away
# or busy: every call may be repeated, for a lease is settled once.
post() {
    while :; do
        answer=$(curl --silent --max-time 30 --write-out '\n%{http_code}' -X POST "$URL$1" \
            -H 'content-type: application/json' ${TOKEN:+-H "authorization: Bearer $TOKEN"} --data-binary "$2")
        case ${answer##*
} in
            503 | 429 | 000) sleep 2 ;;
            *) printf '%s\n' "$answer" && return ;;
        esac
    done
}

# Renew the lease three times in its length, until the job has ended.
keep() {
    while sleep $((LEASE / 3)); do
        case $(post "/leases/$1/heartbeat" "{\"lease\":$LEASE}") in
            *'"state":"cancel"'*) kill -TERM "$2" 2> /dev/null ;;
        esac
    done
}

# The handler: a job's payload on stdin, its result as JSON on stdout, and 0 where all went well.
handle() { sed -n 's/.*"text" *: *"\([^"\\]*\)".*/"\1"/p' | tr '[:lower:]' '[:upper:]' | grep .; }

# run LEASE PAYLOAD: handle one job, and say what came of it.
run() {
    result=$(mktemp)
    printf '%s' "$2" | handle > "$result" &
    handler=$!
    keep "$1" "$handler" > /dev/null 2>&1 &
    keeper=$!
    if wait "$handler"; then
        post "/leases/$1/complete" "{\"result\":$(cat "$result")}" > /dev/null
    else
        post "/leases/$1/fail" '{"error":"HandlerError: the payload has no text"}' > /dev/null
    fi
    kill "$keeper" 2> /dev/null
    rm -f "$result"
}

while :; do
    answer=$(post /leases "{\"types\":[\"shout\"],\"wait\":$WAIT,\"lease\":$LEASE,\"worker\":\"$(uname -n)-$$\"}")
    lease=$(printf '%s' "$answer" | sed -n 's/^{"leases":\[{"lease":"\([0-9a-f-]*\)".*/\1/p')
    [ -n "$lease" ] || break
    run "$lease" "$(printf '%s' "$answer" | sed -n 's/^.*"payload":\(.*\),"status":"RUNNING".*$/\1/p')"
    echo "ran $lease"
done
