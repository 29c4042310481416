# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Writes a checkpoint with the keys and shapes of the public one and random weights.

Usage: python synthetic_release.py FOLDER [LAYERS]; it has 2.85 GB with all 30 layers.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

KEYS = Path(__file__).resolve().parents[1] / "data" / "genception_1.3b_keys.json"


def write_release(folder: Path, layers: int = 30, compressed: bool = False) -> Path:
    """Write the transformer and its config, random bfloat16; return the path of the `.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    public: dict[str, Any] = json.loads(KEYS.read_text())
    path = folder / "genception_1.3b_transformer.npz"
    (folder / "genception_1.3b_config.json").write_text(
        json.dumps({**public["config"], "num_layers": layers})
    )
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(path, "w", method) as file:
        for key, shape in public["shapes"].items():
            sides = [layers, *shape[1:]] if key.startswith("blocks.") else shape
            with file.open(f"{key}.npy", "w", force_zip64=True) as member:
                header = {"descr": "|V2", "fortran_order": False, "shape": tuple(sides)}
                npy.write_array_header_1_0(member, header)
                for _ in range(sides[0]):
                    numbers = rng.standard_normal(sides[1:], np.float32) * np.float32(0.02)
                    # The upper half of a float32 is a bfloat16.
                    member.write(
                        (np.asarray(numbers).view(np.uint32) >> 16).astype(np.uint16).tobytes()
                    )
    return path


if __name__ == "__main__":
    write_release(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 30)
