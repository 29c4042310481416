# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Sourced by demo.sh and test.sh: sets up one environment with ROS 2, PyTorch and this package.
#
#   prepare_environment            what the demo needs
#   prepare_environment dev        also the test tools; any extras of pyproject.toml
#
# It creates .venv in this folder, or the folder that THFM_VENV names. A sourced ROS 2 is used as it
# is; otherwise ROS 2 is installed from the Python index. Each step is skipped if its inputs, whose
# checksums are in .venv/thfm-stamps, have not changed. Afterwards $VENV/bin/python can import
# thfm_ros.msg.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${THFM_VENV:-$ROOT/.venv}
STAMPS=$VENV/thfm-stamps
SETUP_LOG=$ROOT/build/setup.log

# An unexpected failure must not end a script without a message (functions inherit it by set -E).
trap 'say "ERROR: \"$BASH_COMMAND\" failed in line $LINENO of ${BASH_SOURCE[0]}"' ERR

say() { printf '%s\n' "$*" >&2; }
die() {
  say "ERROR: $*"
  exit 1
}

# step SECONDS TITLE COMMAND...: run a command quietly; if it fails, show the end of its output.
step() {
  local seconds=$1 title=$2 began=$SECONDS code=0
  shift 2
  printf '  %s ... ' "$title" >&2
  # --foreground: the command receives Ctrl-C too.
  timeout --foreground -k 10 "$seconds" "$@" >"$SETUP_LOG" 2>&1 || code=$?
  if [ $code -ne 0 ]; then
    say "failed after $((SECONDS - began)) s"
    tail -n 25 "$SETUP_LOG" >&2
    [ $code -eq 124 ] && say "It was stopped after the limit of $seconds s."
    die "$title (complete output: $SETUP_LOG)"
  fi
  say "$((SECONDS - began)) s"
}

is_up_to_date() { [ "$(cat "$STAMPS/$1" 2>/dev/null)" = "$2" ]; }
write_stamp() { mkdir -p "$STAMPS" && printf '%s\n' "$2" >"$STAMPS/$1"; }

uses_sourced_ros() { [ -n "${ROS_DISTRO:-}" ] && python3 -c 'import rclpy' 2>/dev/null; }

# Print the Python to use: the system's for a sourced ROS 2, else one for which ROS 2 wheels exist.
choose_python() {
  if uses_sourced_ros; then
    echo python3
    return
  fi
  [ "$(uname -sm)" = "Linux x86_64" ] || die "Without a ROS 2 installation only Linux on x86_64" \
    "is supported (there are no other ROS 2 wheels). Install ROS 2, source it, and run this again."
  local candidate
  for candidate in python3 python3.12 python3.11 python3.13 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "Python 3.10 to 3.13 is needed; python3 is $(python3 --version 2>&1)." \
    "Try: sudo apt install python3.12-venv python3.12-dev"
}

# Report all missing tools at once, with the command that installs them.
check_tools() {
  local python=$1 version missing=()
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  [ "$(command -v python3)" = /usr/bin/python3 ] && [ "$python" = python3 ] && version=python3
  command -v cmake >/dev/null || missing+=(cmake)
  command -v c++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$version-venv")
  "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing+=("$version-dev")
  [ ${#missing[@]} -eq 0 ] ||
    die "Tools to build the ROS messages are missing: sudo apt install ${missing[*]}"
}

make_venv() {
  local python=$1 key options=()
  key="$("$python" --version), ROS 2 from the Python index"
  if uses_sourced_ros; then
    key="$("$python" --version), ROS 2 $ROS_DISTRO as it is sourced"
    options+=(--system-site-packages)
  fi
  if [ ! -x "$VENV/bin/python" ] || ! is_up_to_date venv "$key"; then
    step 300 "virtual environment $VENV ($key)" "$python" -m venv --clear "${options[@]}" "$VENV"
    write_stamp venv "$key"
  fi
}

pip_install() { # SECONDS TITLE ARGUMENTS...
  local seconds=$1 title=$2
  shift 2
  step "$seconds" "$title" "$VENV/bin/python" -m pip install --disable-pip-version-check "$@"
}

# Print the newest CPU build of PyTorch that pip finds, with its own configuration or with the given
# options; empty if none. Its exact version is needed, since pip prefers a newer CUDA build.
cpu_build() { # PIP OPTIONS...
  timeout -k 5 180 "$VENV/bin/python" -m pip index versions torch --retries 1 --timeout 20 "$@" \
    2>>"$SETUP_LOG" | grep -oE '[0-9][0-9.]*\+cpu' | head -n 1 || true
}

# PyTorch is installed first, so that it already satisfies the package's requirement. The default
# x86_64 wheel is a CUDA build of several GB; without an NVIDIA GPU the CPU build is sufficient.
install_torch() {
  "$VENV/bin/python" -c "$CHECK_TORCH" 2>/dev/null && return
  if command -v nvidia-smi >/dev/null && timeout 20 nvidia-smi -L 2>/dev/null | grep -q GPU; then
    say "  NVIDIA GPU found: PyTorch with CUDA (for TensorRT: pip install '.[gpu]')"
    pip_install 3600 "PyTorch with CUDA, several GB" 'torch>=2.5'
    return
  fi
  say "  No NVIDIA GPU found: PyTorch's CPU build"
  local version from=()
  : >"$SETUP_LOG"
  version=$(cpu_build)
  if [ -z "$version" ]; then
    from=(--index-url https://download.pytorch.org/whl/cpu)
    version=$(cpu_build "${from[@]}")
  fi
  [ -n "$version" ] || die "No CPU build of PyTorch for $("$VENV/bin/python" --version): pip finds" \
    "none with its present configuration, and download.pytorch.org cannot be reached or has none" \
    "(pip's output: $SETUP_LOG). Either put a file torch-*+cpu-*.whl into a folder and" \
    "export PIP_FIND_LINKS=FOLDER, or install the CUDA build of several GB, which runs on a CPU" \
    "as well: $VENV/bin/pip install torch. Then run this again."
  pip_install 1800 "PyTorch $version" "torch>=2.5,==$version" "${from[@]}"
}
CHECK_TORCH='import torch;  assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 5)'

# Write a constraint, so that no later installation replaces this PyTorch by a CUDA build: pip then
# reports a conflict.
pin_torch() {
  write_stamp torch "torch==$("$VENV/bin/python" -c 'from importlib.metadata import version
print(version("torch"))')"
}

install_ros() {
  uses_sourced_ros && return
  local key
  key=$(sha256sum <"$ROOT/requirements-ros.txt")
  is_up_to_date ros "$key" && return
  pip_install 1800 "ROS 2 Kilted from the Python index" -r "$ROOT/requirements-ros.txt"
  write_stamp ros "$key"
}

sources_key() {
  (cd "$ROOT" && find thfm_ros msg srv launch config scripts CMakeLists.txt package.xml setup.py \
    pyproject.toml -type f ! -path '*/__pycache__/*' -print0 | sort -z |
    xargs -0 sha256sum | sha256sum)
}

install_package() {
  local extras=$1 key
  key=$(sources_key)
  is_up_to_date "package$extras" "$key" && return
  pin_torch
  pip_install 1800 "thfm_ros$extras with its messages" "$ROOT$extras" \
    --constraint "$STAMPS/torch"
  rm -f "$STAMPS"/package* # the stamps of other sets of extras are out of date
  write_stamp "package$extras" "$key"
}

# A sourced ROS finds the typesupport libraries through LD_LIBRARY_PATH; ROS from the Python index
# searches its environment itself.
export_paths() {
  export AMENT_PREFIX_PATH="$VENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
  uses_sourced_ros && export LD_LIBRARY_PATH="$VENV/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  return 0
}

prepare_environment() {
  local extras="" python
  [ -n "${1:-}" ] && extras="[$1]"
  python=$(choose_python) || exit 1
  check_tools "$python"
  mkdir -p "$ROOT/build"
  if command -v flock >/dev/null; then # two set-ups at once would break the environment
    exec 9>"$ROOT/build/setup.lock"
    flock -w 1800 9 || die "Another set-up has been running for half an hour: it has locked" \
      "$ROOT/build/setup.lock."
  fi
  say "Environment: $VENV"
  make_venv "$python"
  install_torch
  install_ros
  install_package "$extras"
  command -v flock >/dev/null && exec 9>&-
  export_paths
}
