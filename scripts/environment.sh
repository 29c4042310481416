# Sourced by demo.sh and test.sh: one environment with ROS 2, PyTorch and this package.
#
#   prepare_environment            what the demo needs
#   prepare_environment dev        and the tools of the tests (any extras of pyproject.toml)
#
# It makes .venv here (or uses THFM_VENV). A sourced ROS 2 is used as it is; without one ROS 2
# comes from the Python index. Nothing is done twice: .venv/thfm-stamps remembers what was built
# from what. Afterwards $VENV/bin/python can import thfm_ros.msg.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${THFM_VENV:-$ROOT/.venv}
STAMPS=$VENV/thfm-stamps
SETUP_LOG=$ROOT/build/setup.log

# A command that fails unforeseen must not end a script without a word (set -E inherits this).
trap 'say "ERROR: \"$BASH_COMMAND\" failed in line $LINENO of ${BASH_SOURCE[0]}"' ERR

say() { printf '%s\n' "$*" >&2; }
die() {
  say "ERROR: $*"
  exit 1
}

# step SECONDS TITLE COMMAND...: run it quietly; on failure show the end of what it said.
step() {
  local seconds=$1 title=$2 began=$SECONDS code=0
  shift 2
  printf '  %s ... ' "$title" >&2
  # --foreground: Ctrl-C reaches the command too.
  timeout --foreground -k 10 "$seconds" "$@" >"$SETUP_LOG" 2>&1 || code=$?
  if [ $code -ne 0 ]; then
    say "failed after $((SECONDS - began)) s"
    tail -n 25 "$SETUP_LOG" >&2
    [ $code -eq 124 ] && say "It was stopped after $seconds s."
    die "$title (all of it: $SETUP_LOG)"
  fi
  say "$((SECONDS - began)) s"
}

done_before() { [ "$(cat "$STAMPS/$1" 2>/dev/null)" = "$2" ]; }
remember() { mkdir -p "$STAMPS" && printf '%s\n' "$2" >"$STAMPS/$1"; }

uses_sourced_ros() { [ -n "${ROS_DISTRO:-}" ] && python3 -c 'import rclpy' 2>/dev/null; }

# The Python to use: the system's for a sourced ROS 2, else one for which ROS 2 wheels exist.
choose_python() {
  if uses_sourced_ros; then
    echo python3
    return
  fi
  [ "$(uname -sm)" = "Linux x86_64" ] || die "Without a ROS 2 installation only Linux on x86_64" \
    "works (ROS 2 wheels exist for nothing else). Install ROS 2, source it, and run this again."
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

# Name everything that is missing at once, with the one command that cures it.
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
    die "To build the ROS messages this is missing: sudo apt install ${missing[*]}"
}

make_venv() {
  local python=$1 key options=()
  key="$("$python" --version), ROS 2 from the Python index"
  if uses_sourced_ros; then
    key="$("$python" --version), ROS 2 $ROS_DISTRO as it is sourced"
    options+=(--system-site-packages)
  fi
  if [ ! -x "$VENV/bin/python" ] || ! done_before venv "$key"; then
    step 300 "virtual environment $VENV ($key)" "$python" -m venv --clear "${options[@]}" "$VENV"
    remember venv "$key"
  fi
}

pip_install() { # SECONDS TITLE ARGUMENTS...
  local seconds=$1 title=$2
  shift 2
  step "$seconds" "$title" "$VENV/bin/python" -m pip install --disable-pip-version-check "$@"
}

# The newest CPU build that pip knows, as it is set up here or with other options; may be nothing.
# Asked for by name, since pip prefers a newer release of the index, which is a CUDA build.
cpu_build() { # PIP OPTIONS...
  timeout -k 5 180 "$VENV/bin/python" -m pip index versions torch --retries 1 --timeout 20 "$@" \
    2>>"$SETUP_LOG" | grep -oE '[0-9][0-9.]*\+cpu' | head -n 1 || true
}

# PyTorch first, so that the package's own requirement finds it there. The default x86_64 wheel is
# a CUDA build of several GB; without an NVIDIA GPU the CPU build does the same.
install_torch() {
  "$VENV/bin/python" -c "$TORCH_WILL_DO" 2>/dev/null && return
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
  [ -n "$version" ] || die "No CPU build of PyTorch for $("$VENV/bin/python" --version): pip has" \
    "none as it is set up here, and download.pytorch.org cannot be reached or has none" \
    "(pip's words: $SETUP_LOG). Either put a file torch-*+cpu-*.whl into a folder and" \
    "export PIP_FIND_LINKS=FOLDER, or take the build with CUDA, several GB, which runs here as" \
    "well: $VENV/bin/pip install torch. Then run this again."
  pip_install 1800 "PyTorch $version" "torch>=2.5,==$version" "${from[@]}"
}
TORCH_WILL_DO='import torch; assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 5)'

# What others need must not replace this PyTorch (by a CUDA build): pip says so instead.
hold_torch() {
  remember torch "torch==$("$VENV/bin/python" -c 'from importlib.metadata import version
print(version("torch"))')"
}

install_ros() {
  uses_sourced_ros && return
  local key
  key=$(sha256sum <"$ROOT/requirements-ros.txt")
  done_before ros "$key" && return
  pip_install 1800 "ROS 2 Kilted from the Python index" -r "$ROOT/requirements-ros.txt"
  remember ros "$key"
}

sources_key() {
  (cd "$ROOT" && find thfm_ros msg srv launch config scripts CMakeLists.txt package.xml setup.py \
    pyproject.toml -type f ! -path '*/__pycache__/*' -print0 | sort -z |
    xargs -0 sha256sum | sha256sum)
}

install_package() {
  local extras=$1 key
  key=$(sources_key)
  done_before "package$extras" "$key" && return
  hold_torch
  pip_install 1800 "thfm_ros$extras with its messages" "$ROOT$extras" \
    --constraint "$STAMPS/torch"
  rm -f "$STAMPS"/package* # the other sets of extras may want other releases now
  remember "package$extras" "$key"
}

# A ROS that is sourced finds the typesupport libraries by LD_LIBRARY_PATH; the wheels of the
# Python index look into the environment by themselves.
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
  if command -v flock >/dev/null; then # two of us at once would spoil the environment
    exec 9>"$ROOT/build/setup.lock"
    flock -w 1800 9 || die "Another set-up has held $ROOT/build/setup.lock for half an hour."
  fi
  say "Environment: $VENV"
  make_venv "$python"
  install_torch
  install_ros
  install_package "$extras"
  command -v flock >/dev/null && exec 9>&-
  export_paths
}
