#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Copy a part of a folder of training data, at most so many megabytes, for a short run elsewhere.

python scripts/training_subset.py data subset --megabytes 50

Random shards of train/, val/ and the rendered frames are copied whole, and some of the backgrounds
and of the hard negatives; photographs are left out, since they may not be passed on.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

SHARES = {"train": 0.45, "frames320": 0.2, "frames": 0.1, "val": 0.05}
"""Of the megabytes, by folder; at least one shard each. The rest is for the images below."""

IMAGES = {"backgrounds.npy": 0.9, "hard_negatives.npy": 0.1}
"""Of the rest, by file."""


def copy_subset(data: Path, out: Path, megabytes: float) -> int:
    """Copy; returns the number of bytes.

    Raises:
        FileNotFoundError: the folder has no train/ or no backgrounds.npy.
        ValueError: one shard of each kind and one image are more than ``megabytes``.
    """
    limit = int(megabytes * 1e6)
    used = 0
    for name, share in SHARES.items():
        shards = sorted((data / name).glob("*.npz"))
        if not shards and name == "train":
            raise FileNotFoundError(f"There is no shard in {data / name}.")
        shards = [shards[i] for i in np.random.default_rng(0).permutation(len(shards))]
        room = int(share * limit)
        for number, shard in enumerate(shards):
            size = shard.stat().st_size
            if number and size > room:
                break
            (out / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(shard, out / name / shard.name)
            room, used = room - size, used + size
    rest = limit - used
    for name, share in IMAGES.items():
        source = data / name
        if not source.exists() and name == "backgrounds.npy":
            raise FileNotFoundError(f"There is no {source}.")
        if not source.exists():
            continue
        images = np.load(source, mmap_mode="r")
        count = min(int(share * rest) // images[0].nbytes, len(images))
        if count < 1 and name == "backgrounds.npy":
            raise ValueError(f"{megabytes:g} MB are too few; {used / 1e6:.0f} MB are shards alone.")
        if count < 1:
            continue
        chosen = np.sort(np.random.default_rng(0).choice(len(images), count, replace=False))
        np.save(out / name, images[chosen])
        used += (out / name).stat().st_size
    return used


def main() -> int:
    """Copy, and print the size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/, val/ and backgrounds.npy")
    parser.add_argument("out", type=Path, help="folder that does not exist yet")
    parser.add_argument("--megabytes", type=float, default=50.0)
    args = parser.parse_args()
    if args.out.exists():
        print(f"{args.out} exists; give another folder.", file=sys.stderr)
        return 2
    try:
        size = copy_subset(args.data, args.out, args.megabytes)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
