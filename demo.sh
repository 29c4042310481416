#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Sets up the environment (the first time), then plays a video through the perception node over
# ROS 2 topics and writes overlay.mp4, contact.png and summary.json to --out (default: out).
#   ./demo.sh [--video FILE_OR_FOLDER | --camera N] [--seconds S] [--out DIR]
#             [--viewer rerun|none]
set -Eeuo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"
extras=""
case " $* " in *" --viewer rerun "* | *" --viewer=rerun "*) extras=viewer ;; esac
case " $* " in *" --help "* | *" -h "*) sed -n '2,5s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
previous=""
for argument in "$@"; do # a mistyped path should not cost minutes of set-up
  [ "$previous" != --video ] || [ -e "$argument" ] || die "There is no $argument."
  case $argument in --video=*) [ -e "${argument#--video=}" ] || die "There is no ${argument#--video=}." ;; esac
  previous=$argument
done
prepare_environment "$extras"
exec "$VENV/bin/thfm-demo" "$@"
