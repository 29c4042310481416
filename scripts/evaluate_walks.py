#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Measure velocities and predictions on rendered walks; prints the tables of docs/robots.md.

python -m thfm_ros.synth.walks --pack pack.npz --out WALKS     # renders them
python scripts/evaluate_walks.py WALKS
python scripts/evaluate_walks.py WALKS --filters               # what limits the velocity
"""

import argparse
from pathlib import Path

from thfm_ros.config import config_from
from thfm_ros.evaluation.walk_filters import filter_report, walks_for_filters
from thfm_ros.evaluation.walk_prediction import predicted_walks, prediction_error_table
from thfm_ros.evaluation.walk_velocity import (
    coverage,
    measured_walks,
    prediction_table,
    share_along_the_view,
    velocity_table,
)
from thfm_ros.loading import load_pipeline


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("walks", type=Path, help="folder of the films")
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    parser.add_argument("--filters", action="store_true", help="what limits the velocity")
    args = parser.parse_args()
    settings = {"engine.checkpoint": args.checkpoint, "track.seed": 1}
    if args.filters:
        pipeline = load_pipeline(config_from({**settings, "track.smoothing": "none"}))
        print(filter_report(list(walks_for_filters(pipeline, args.walks))))
        return 0
    pipeline = load_pipeline(config_from(settings))
    walks = list(measured_walks(pipeline, args.walks))
    print(f"{len(walks)} walks, {sum(len(walk.seconds) for walk in walks)} frames\n")
    print(f"{velocity_table(walks)}\n\n{prediction_table(walks)}\n")
    print(
        f"{coverage(walks):.2f} of the errors of `velocity` lie within the 95 % of its covariance"
    )
    print(f"{share_along_the_view(walks):.2f} of its squared error lies along the line of sight")
    print(f"\n{prediction_error_table(list(predicted_walks(pipeline, args.walks)))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
