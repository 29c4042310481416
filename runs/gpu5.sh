#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Trains nano on for about four minutes of one GPU, and leaves the weights, their metrics and a
# picture of held-out people in OUT. Needs a Python with this package and its dependencies, and data
# of at most 50 MB:
#
#   python scripts/training_subset.py data subset --megabytes 50     # on the machine with the data
#   runs/gpu5.sh subset OUT [--device cuda] [--seconds 230] [--python PYTHON]
#
# Exit code 3: no GPU. With --device cpu it runs the same without one, and is slow.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
device=cuda seconds=230 python=${THFM_PYTHON:-python3} folders=()
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2 && shift 2 ;;
    --seconds) seconds=$2 && shift 2 ;;
    --python) python=$2 && shift 2 ;;
    --help | -h) sed -n '4,13s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "$1 is no option; see $0 --help" >&2 && exit 2 ;;
    *) folders+=("$1") && shift ;;
  esac
done
[ ${#folders[@]} -eq 2 ] || { echo "usage: $0 DATA OUT [OPTIONS]; see --help" >&2 && exit 2; }
data=${folders[0]} out=${folders[1]}
[ -d "$data/train" ] || { echo "There is no $data/train: make it with scripts/training_subset.py" >&2 && exit 2; }
if [ "$device" != cpu ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "PyTorch of $python finds no GPU: nothing was trained (--device cpu runs without one)." >&2
  exit 3
fi
mkdir -p "$out"
began=$SECONDS
"$python" -m thfm_ros.commands.train runs/gpu5.json --data "$data" --out "$out/run" \
  --begin-from thfm_ros/weights/nano.safetensors --device "$device" --seconds "$seconds" \
  --evaluate-every "$((seconds / 2))" --heldout 64 --workers 1 \
  --trained-on "rendered people; runs/gpu5.json after the shipped weights"
cp "$out/run/nano.safetensors" "$out/run/metrics.jsonl" "$out/"
[ ! -e "$out/run/heldout.png" ] || cp "$out/run/heldout.png" "$out/"
echo "$out: $(tail -n 1 "$out/metrics.jsonl" | cut -c1-60)... after $((SECONDS - began)) s"
