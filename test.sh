#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Sets everything up (the first time), then runs every check: style, types, and the
# whole test suite against the installed package, in two processes where there are two cores.
# Further arguments go to pytest and win: ./test.sh -n 0 runs it in one process.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. scripts/environment.sh
prepare_environment dev
export THFM_TESTS_NEED_ROS=1 # missing messages are an error here, not a reason to skip

failed=()
check() { # NAME SECONDS COMMAND...
  local name=$1 seconds=$2 began=$SECONDS
  shift 2
  say "== $name"
  timeout --foreground -k 10 "$seconds" "$@" || failed+=("$name")
  say "== $name: $((SECONDS - began)) s"
}
check "ruff check" 120 "$VENV/bin/ruff" check .
check "ruff format" 120 "$VENV/bin/ruff" format --check .
check "mypy --strict" 600 "$VENV/bin/mypy" --strict thfm_ros test examples
# Not more than two: many tests start processes of their own. -n 0: pytest without workers.
processes=$(($(nproc) > 1 ? 2 : 0))
check "pytest" 1800 "$VENV/bin/pytest" -n "$processes" "$@"
check "scenarios" 300 "$VENV/bin/thfm" scenario --all
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]} (everything took $SECONDS s)"
say "All checks passed in $SECONDS s."
