# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""scripts/int8_under_qemu.py: nano's graphs on a processor without VNNI, emulated."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.graph_engine import token_count
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.stream import StepTables, cue_of

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "int8_under_qemu.py"
script: dict[str, Any] = runpy.run_path(str(SCRIPT))


def test_the_child_process_gives_the_outputs_of_the_engines_first_steps(
    cache: EngineCache, exported: ShapedEngine, tmp_path: Path
) -> None:
    graph = next(
        each for each in cache.folder.glob("*-64x64-dense-*.onnx") if "int8" not in str(each)
    )
    crops = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    tables = StepTables(token_count((64, 64), exported.card), exported.card.window)
    np.savez(
        tmp_path / "in.npz", crops, cue_of(None), tables.time_rotation(0), tables.attention_mask(0)
    )
    script["run"](str(graph), str(tmp_path / "in.npz"), str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as stored:
        heatmaps = stored["arr_0"]
    for crop, found in zip(crops, heatmaps, strict=True):
        raw, _ = exported.step(crop, None, dense=True)
        np.testing.assert_array_equal(found, raw.body.heatmaps)


def test_differences_are_relative_to_the_magnitude_of_an_output_for_each_crop(
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "a.npz", np.array([[0.0, 5.0, 10.0], [0.1, 0.2, 0.3]]))
    np.savez(tmp_path / "b.npz", np.array([[0.0, 5.0, 8.0], [0.1, 0.2, 0.8]]))
    difference = script["difference"]
    assert difference(tmp_path / "a.npz", tmp_path / "b.npz") == pytest.approx(0.5)
    assert difference(tmp_path / "a.npz", tmp_path / "b.npz", 0.8) == pytest.approx(0.25)
    assert difference(tmp_path / "a.npz", tmp_path / "b.npz", 0.0) == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed")
def test_float32_and_seven_bits_are_the_same_without_vnni() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
