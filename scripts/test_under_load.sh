#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Shows that no test depends on how busy the machine is: runs the tests several times beside busy
# processes, then once in random order in two processes. Needs an environment from ./test.sh.
#
#   scripts/test_under_load.sh [--busy N] [--runs K] [--log FILE] [PYTEST ARGUMENTS...]
#
# By default four busy processes, three runs, and build/test_under_load.log. The exit code is 0 if
# every run passed.
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
limit=3600 # seconds of one run, which takes three to four times as long as on an idle machine
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
  "$(nproc) cores, $busy busy processes"

failed=0
run() { # TITLE PYTEST ARGUMENTS...
  local title=$1 began=$SECONDS code=0
  shift
  note "== $title"
  # Without the header and with relative paths, so that the log can be kept.
  timeout --foreground -k 30 "$limit" "$venv/bin/pytest" -q --no-header -rfE \
    -W ignore::DeprecationWarning "$@" 2>&1 | sed "s|$PWD/||g" | tee -a "$log" || code=$?
  note "== $title: exit code $code after $((SECONDS - began)) s," \
    "load average $(cut -d' ' -f1-3 /proc/loadavg)"
  [ $code -eq 0 ] || failed=$((failed + 1))
}
for number in $(seq "$runs"); do
  run "run $number of $runs" "$@"
done
seed=$RANDOM
run "in two processes, random order, seed $seed" -n 2 --random-order --random-order-seed "$seed" "$@"
note "$failed of $((runs + 1)) runs failed"
[ "$failed" -eq 0 ]
