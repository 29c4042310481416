#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Shows that no test depends on how busy the machine is, or on another test: runs the tests several
# times in two processes, beside busy processes, the first time in the order of the files, then in
# random order. Needs an environment from ./test.sh (THFM_VENV: where, if not .venv).
#
#   scripts/test_under_load.sh [--busy N] [--runs K] [--log FILE] [PYTEST ARGUMENTS...]
#
# By default four busy processes, three runs, and build/test_under_load.log. The exit code is 0 if
# every run passed. Further arguments go to pytest and win: -n 0 runs the tests in one process; with
# -n 4 more processes compete, and the runs end sooner.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
busy=4 runs=3 log=build/test_under_load.log
while [ $# -gt 0 ]; do
  case $1 in
    --busy) busy=$2 && shift 2 ;;
    --runs) runs=$2 && shift 2 ;;
    --log) log=$2 && shift 2 ;;
    *) break ;;
  esac
done
venv=${THFM_VENV:-.venv}
limit=10800 # seconds of one run; three to four times as long as on an idle machine is usual
export THFM_TESTS_NEED_ROS=1

pids=()
stop() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true; }
trap stop EXIT
trap 'exit 130' INT TERM
for _ in $(seq "$busy"); do
  "$venv/bin/python" -c 'while True: pass' &
  pids+=($!)
done

mkdir -p "$(dirname "$log")"
note() { printf '%s\n' "$*" | tee -a "$log"; }
: >"$log"
note "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)," \
  "$(nproc) cores, $busy busy processes, arguments: ${*:-none}"

failed=0
run() { # TITLE PYTEST ARGUMENTS...
  local title=$1 began=$SECONDS code=0
  shift
  note "== $title"
  # Without the header and with relative paths, so that the log can be kept. The tests of a file
  # stay in one process (test/conftest.py).
  timeout --foreground -k 30 "$limit" "$venv/bin/pytest" -q --no-header -rfE -n 2 \
    -W ignore::DeprecationWarning "$@" 2>&1 | sed -u "s|$PWD/||g" | tee -a "$log" || code=$?
  note "== $title: exit code $code after $((SECONDS - began)) s," \
    "load average $(cut -d' ' -f1-3 /proc/loadavg)"
  [ $code -eq 0 ] || failed=$((failed + 1))
}
run "run 1 of $runs, order of the files" "$@"
for number in $(seq 2 "$runs"); do
  seed=$RANDOM
  run "run $number of $runs, random order, seed $seed" --random-order --random-order-seed="$seed" \
    "$@"
done
note "$failed of $runs runs failed"
[ "$failed" -eq 0 ]
