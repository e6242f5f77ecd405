#!/usr/bin/env bash
# Sends jobs to several queues at once and holds the server's own counters against what was sent.
# Exit code: 0 if every count is right, 1 if one is off, 2 if it could not be tried. `--help` lists the settings.
set -euo pipefail
export LC_ALL=C # so that numbers have a decimal point, whatever the user's language

readonly SOCKETS_MAX=900 # stays under the usual limit of 1024 open files, the server's own included
readonly LOST_POLLS_MAX=15 # this many polls without an answer in a row mean that the server is gone

usage() {
  cat <<'HELP'
Usage: [NAME=value ...] scripts/stress_multi_queue.sh

Creates queues, sends jobs to all of them at once, waits until each job was run, and checks the counters.

  BASE_URL         http://127.0.0.1:8000   the server (start one with `make run`)
  QUEUE_COUNT      3                       queues
  REQUESTS         50000                   jobs for each queue
  CONCURRENCY      100                     connections for each queue (all together are kept under 900)
  PREFIX           stress-<epoch>          the queues are named PREFIX-1, PREFIX-2, ...
  TYPE             logger                  type of the jobs; the server must have a handler for it
  TIMEOUT_S        300                     give up after so many seconds
  PYTHON           .venv/bin/python        runs benchmarks/loadgen.py where hey is not installed; else python3
  FORCE_LOADGEN    0                       1 uses benchmarks/loadgen.py even where hey is installed

Exit code: 0 if every count is right, 1 if one is off or time ran out, 2 if it could not be tried.
HELP
}

die() {
  printf 'stress_multi_queue: %s\n' "$*" >&2
  exit 2
}

read_settings() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  BASE_URL=${BASE_URL:-http://127.0.0.1:8000}
  BASE_URL=${BASE_URL%/}
  QUEUE_COUNT=${QUEUE_COUNT:-3}
  REQUESTS=${REQUESTS:-50000}
  CONCURRENCY=${CONCURRENCY:-100}
  TIMEOUT_S=${TIMEOUT_S:-300}
  TYPE=${TYPE:-logger}
  FORCE_LOADGEN=${FORCE_LOADGEN:-0}
  PREFIX=$(printf '%s' "${PREFIX:-stress-$(date +%s)}" | tr '[:upper:]' '[:lower:]') # as the server does
  local name
  for name in QUEUE_COUNT REQUESTS CONCURRENCY TIMEOUT_S; do
    [[ ${!name} =~ ^[1-9][0-9]{0,8}$ ]] || die "$name=${!name} is not a whole number of at least 1"
  done
  [[ $PREFIX =~ ^[a-z0-9_.-]+$ ]] || die "PREFIX=$PREFIX may have letters, digits and - _ . only"
  [[ $TYPE =~ ^[A-Za-z0-9_.:-]+$ ]] || die "TYPE=$TYPE may have letters, digits and - _ . : only"
  ((QUEUE_COUNT <= SOCKETS_MAX)) || die "QUEUE_COUNT=$QUEUE_COUNT is more than $SOCKETS_MAX connections can serve"
  if ((QUEUE_COUNT * CONCURRENCY > SOCKETS_MAX)); then
    CONCURRENCY=$((SOCKETS_MAX / QUEUE_COUNT))
    echo "CONCURRENCY is lowered to $CONCURRENCY: all queues together may open $SOCKETS_MAX connections."
  fi
  ((CONCURRENCY <= REQUESTS)) || CONCURRENCY=$REQUESTS
  BODY='{"type":"'$TYPE'","payload":{"msg":"hello"},"priority":5,"delay":0,"max_retries":5}'
}

choose_generator() {
  command -v curl >/dev/null || die "curl is needed and not installed"
  if [[ $FORCE_LOADGEN != 1 ]] && command -v hey >/dev/null; then
    GENERATOR=hey
    return
  fi
  GENERATOR=benchmarks/loadgen.py
  if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ ! -x .venv/bin/python ]] || PYTHON=.venv/bin/python
  fi
  command -v "$PYTHON" >/dev/null || die "neither hey nor PYTHON=$PYTHON can be run; install hey, or name a Python >= 3.11"
}

name_queues() {
  local number
  QUEUES=()
  for ((number = 1; number <= QUEUE_COUNT; number++)); do
    QUEUES+=("$PREFIX-$number")
  done
}

require_server() {
  fetch_metrics >"$WORK/metrics" ||
    die "no answer from $BASE_URL/metrics. Start the server with \`make run\`, or say where it is with BASE_URL=..."
}

create_queues() {
  local queue status
  for queue in "${QUEUES[@]}"; do
    status=$(curl -sS --max-time 10 -o "$WORK/answer" -w '%{http_code}' -X POST "$BASE_URL/queue/$queue") || status=000
    case $status in
      201 | 409) ;; # 409: it exists, and the baseline takes care of what it has counted so far
      *) die "POST /queue/$queue answered $status, expected 201 or 409: $(head -c 300 "$WORK/answer" 2>/dev/null)" ;;
    esac
  done
}

fetch_metrics() {
  curl -fsS --max-time 10 "$BASE_URL/metrics" 2>"$WORK/curl-error"
}

# Prints a line per queue, in order: enqueued done failed dead depth.
read_counters() {
  awk -v names="${QUEUES[*]}" -v type="$TYPE" '
    function has(name, value) { return index(labels, "," name "=\"" value "\",") }
    BEGIN { count = split(names, queues, " "); for (i = 1; i <= count; i++) at[queues[i]] = i }
    /^gotaskq_(jobs_enqueued_total|jobs_processed_total|jobs_dead_total|queue_depth)[{]/ {
      metric = substr($0, 1, index($0, "{") - 1)
      close_at = index($0, "} ")
      labels = "," substr($0, length(metric) + 2, close_at - length(metric) - 2) ","
      if (!match(labels, /,queue="[^"]*"/)) next
      i = at[substr(labels, RSTART + 8, RLENGTH - 9)]
      if (!i) next
      split(substr($0, close_at + 2), value, " ")
      if (metric == "gotaskq_queue_depth") depth[i] += value[1]
      else if (!has("type", type)) next
      else if (metric == "gotaskq_jobs_enqueued_total") enqueued[i] += value[1]
      else if (metric == "gotaskq_jobs_dead_total") dead[i] += value[1]
      else if (has("status", "done")) done[i] += value[1]
      else if (has("status", "failed")) failed[i] += value[1]
    }
    END {
      for (i = 1; i <= count; i++)
        printf "%.0f %.0f %.0f %.0f %.0f\n", enqueued[i], done[i], failed[i], dead[i], depth[i]
    }'
}

# Keeps what the counters grew by since the baseline, a line per queue; the depth stays as it is.
take_counters() {
  fetch_metrics >"$WORK/metrics" || return 1
  read_counters <"$WORK/metrics" >"$WORK/now"
  paste -d ' ' "$WORK/now" "$WORK/baseline" |
    awk '{ printf "%.0f %.0f %.0f %.0f %.0f\n", $1 - $6, $2 - $7, $3 - $8, $4 - $9, $5 }' >"$WORK/grown"
}

# hey sends a multiple of its connections and drops the rest, so the rest is a second, smaller call.
send_to() {
  local queue=$1 rest=$((REQUESTS % CONCURRENCY))
  local url="$BASE_URL/$queue/jobs"
  if [[ $GENERATOR == hey ]]; then
    hey -n $((REQUESTS - rest)) -c "$CONCURRENCY" -t 60 -m POST -T application/json -d "$BODY" "$url"
    ((rest == 0)) || hey -n "$rest" -c "$rest" -t 60 -m POST -T application/json -d "$BODY" "$url"
  else
    "$PYTHON" "$GENERATOR" "$url" -n "$REQUESTS" -c "$CONCURRENCY" -t 60s -m POST -T application/json -d "$BODY"
  fi
}

start_sending() {
  local queue
  SENDERS=()
  set -m # a process group each, so that all of a sender can be ended
  for queue in "${QUEUES[@]}"; do
    { send_to "$queue" || true; now >"$WORK/$queue.ended"; } >"$WORK/$queue.sent" 2>"$WORK/$queue.errors" &
    SENDERS+=($!)
  done
  set +m
}

still_sending() {
  local sender
  for sender in "${SENDERS[@]}"; do
    if kill -0 "$sender" 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

stop_sending() {
  local sender
  for sender in ${SENDERS[@]+"${SENDERS[@]}"}; do
    kill "-$1" -- "-$sender" 2>/dev/null || true
  done
}

clean_up() {
  stop_sending TERM
  rm -rf "$WORK"
}

# Prints for a queue: 201s, other answers and errors, seconds it took to send.
sent_to() {
  awk '
    /^ *Total:/ { seconds += $2 }
    /^ *\[[0-9]+\]\t[0-9]+ responses/ { status = $1; gsub(/[][]/, "", status)
      if (status == 201) created += $2; else other += $2; next }
    /^Error distribution:/ { errors = 1; next }
    /^Summary:/ { errors = 0 }
    errors && /^ *\[[0-9]+\]/ { number = $1; gsub(/[][]/, "", number); other += number }
    END { printf "%.0f %.0f %.4f\n", created, other, seconds }' "$WORK/$1.sent"
}

collect_sent() {
  local queue
  for queue in "${QUEUES[@]}"; do
    sent_to "$queue"
  done >"$WORK/sent"
}

now() {
  printf '%s\n' "${EPOCHREALTIME:-$(date +%s)}" # bash before 5 knows whole seconds only
}

# The generators run side by side, so the last to end says how long sending took.
sending_seconds() {
  { cat "$WORK"/*.ended 2>/dev/null || true; } |
    awk -v from="$1" '$1 > last { last = $1 } END { printf "%.2f", (last ? last : from) - from }'
}

seconds_since() {
  awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.2f", to - from }'
}

show_progress() {
  awk -v elapsed="$1" -v wanted="$((REQUESTS * QUEUE_COUNT))" '
    { enqueued += $1; done += $2; failed += $3; depth += $5; each = each " " $2 }
    END { printf "%6.1f s  enqueued %.0f/%.0f  done %.0f  failed %.0f  waiting %.0f  (done per queue:%s)\n",
          elapsed, enqueued, wanted, done, failed, depth, each }' "$WORK/grown"
}

# Nothing is left to wait for when all that was accepted was counted in, and has ended in one way or the other.
all_settled() {
  paste -d ' ' "$WORK/sent" "$WORK/grown" |
    awk '{ accepted = $1 > $4 ? $1 : $4; if ($4 < accepted || $5 + $7 < accepted) exit 1 }'
}

# Sets SENDING_S, SETTLED_S and TIMED_OUT.
wait_until_settled() {
  local started=$1 deadline=$((SECONDS + TIMEOUT_S)) lost=0
  SENDING_S='' SETTLED_S='' TIMED_OUT=0
  while true; do
    if [[ -z $SENDING_S ]] && ! still_sending; then
      SENDING_S=$(sending_seconds "$started")
      collect_sent
    fi
    if take_counters; then
      lost=0
      show_progress "$(seconds_since "$started")"
      if [[ -n $SENDING_S ]] && all_settled; then
        SETTLED_S=$(seconds_since "$started")
        return
      fi
    else
      lost=$((lost + 1))
      echo "no answer from $BASE_URL/metrics: $(cat "$WORK/curl-error")"
      ((lost < LOST_POLLS_MAX)) || die "the server stopped answering"
    fi
    if ((SECONDS >= deadline)); then
      TIMED_OUT=1
      SENDING_S=${SENDING_S:-$(seconds_since "$started")} SETTLED_S=$(seconds_since "$started")
      stop_sending INT # the generators then say what they did so far
      sleep 1
      collect_sent
      return
    fi
    sleep 1
  done
}

show_table() {
  printf '\n%-28s %10s %10s %10s %10s %10s %10s\n' queue 201s enqueued done failed dead requests/s
  printf '%s\n' "${QUEUES[@]}" | paste -d ' ' - "$WORK/sent" "$WORK/grown" |
    awk -v sending="$SENDING_S" '
      function row(name, a, b, c, d, e, rate) {
        printf "%-28s %10.0f %10.0f %10.0f %10.0f %10.0f %10.0f\n", name, a, b, c, d, e, rate
      }
      { row($1, $2, $5, $6, $7, $8, $4 > 0 ? $2 / $4 : 0)
        created += $2; enqueued += $5; done += $6; failed += $7; dead += $8 }
      END { row("total", created, enqueued, done, failed, dead, sending > 0 ? created / sending : 0) }'
  local ending='until all were done'
  ((!TIMED_OUT)) || ending='given up after'
  printf '\nsending took %s s, %s %s s\n' "$SENDING_S" "$ending" "$SETTLED_S"
}

# Names every count that is off; succeeds if there is none.
check_counts() {
  printf '%s\n' "${QUEUES[@]}" | paste -d ' ' - "$WORK/sent" "$WORK/grown" |
    awk -v wanted="$REQUESTS" '
      function hold(name, count) {
        if (count != wanted) { printf "WRONG %s: %.0f %s, expected %.0f\n", queue, count, name, wanted; wrong = 1 }
      }
      { queue = $1
        hold("answers 201", $2); hold("jobs enqueued", $5); hold("jobs done", $6)
        if ($3) printf "      %s: %.0f requests got another answer, or none\n", queue, $3 }
      END { exit wrong }' >&2
}

show_sender_errors() {
  local queue
  for queue in "${QUEUES[@]}"; do
    if [[ -s $WORK/$queue.errors ]]; then
      printf '      %s, %s said: %s\n' "$queue" "$GENERATOR" "$(head -c 300 "$WORK/$queue.errors")" >&2
    fi
    { grep -A3 '^Error distribution' "$WORK/$queue.sent" || true; } | sed "s|^|      $queue: |" >&2
  done
}

main() {
  case ${1:-} in
    -h | --help) usage && exit 0 ;;
    '') ;;
    *) usage >&2 && die "unknown argument $1: settings are given as NAME=value before the command" ;;
  esac
  read_settings
  choose_generator
  name_queues
  SENDERS=()
  WORK=$(mktemp -d)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  require_server
  create_queues
  fetch_metrics | read_counters >"$WORK/baseline" || die "no answer from $BASE_URL/metrics"
  echo "$REQUESTS jobs to each of $QUEUE_COUNT queues, $PREFIX-1 to $PREFIX-$QUEUE_COUNT, over $CONCURRENCY connections each, with $GENERATOR"
  local started
  started=$(now)
  start_sending
  wait_until_settled "$started"
  show_table
  local failed=0
  check_counts || failed=1
  if ((TIMED_OUT)); then
    echo "TIMED OUT after TIMEOUT_S=$TIMEOUT_S seconds; what is shown above is how far it came" >&2
    failed=1
  fi
  if ((failed)); then
    show_sender_errors
    exit 1
  fi
  echo "all counts are right"
}

main "$@"
