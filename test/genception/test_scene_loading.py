# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Loading nano and a full-size checkpoint for the scene as one pipeline."""

from pathlib import Path

import cv2
import genception_fixtures as reference
import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.commands import main as cli
from thfm_ros.config import config_from
from thfm_ros.config_option import ConfigError
from thfm_ros.engine.base import EngineError
from thfm_ros.genception import engine_selection
from thfm_ros.loading import load_pipeline
from thfm_ros.scene_pair import ScenePair


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(reference.write_checkpoint(tmp_path_factory.mktemp("release")))


def test_perceive_writes_the_results_of_both_networks(big: str, tmp_path: Path) -> None:
    video = cv2.VideoWriter(
        str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (64, 48)
    )
    for number in range(2):
        video.write(np.full((48, 64, 3), 90 * number, np.uint8))
    video.release()
    words = ["perceive", str(tmp_path / "in.avi"), "--out", str(tmp_path), "--hfov", "60"]
    words += ["--tasks", "bodies,depth,normals,parts"]
    words += ["--set", f"engine.scene_checkpoint={big}", "--set", "engine.kind=torch"]
    assert cli.main(words) == 0
    arrays = np.load(tmp_path / "perception.npz")
    assert arrays["ids"].shape[0] == 2 and "parts" in arrays
    assert np.isfinite(arrays["depth_relative"]).all(), "no person gives the scale"
    assert np.isnan(arrays["depth_m"]).all()


def test_checkpoints_in_the_wrong_place_are_refused(big: str) -> None:
    for settings, text in (
        ({"engine.scene_checkpoint": "nano"}, "of the nano family; give a full-size checkpoint"),
        ({"engine.checkpoint": big, "engine.scene_checkpoint": big}, "must estimate bodies"),
    ):
        with pytest.raises(ConfigError, match=text):
            load_pipeline(config_from({"engine.kind": "torch", **settings}))
    missing = {"engine.kind": "torch", "engine.scene_checkpoint": "none.safetensors"}
    with pytest.raises(EngineError, match="neither a checkpoint"):
        load_pipeline(config_from(missing), live=True)


@pytest.mark.fault("engine", "the scene network does not fit into the GPU's memory")
def test_a_scene_network_without_memory_leaves_the_bodies(
    big: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB\ndetails")

    monkeypatch.setattr(engine_selection, "load_genception", fail)
    config = config_from({"engine.scene_checkpoint": big, "engine.kind": "torch"})
    pipeline = load_pipeline(config, live=True)
    assert isinstance(pipeline, ScenePair) and pipeline.scene is None
    reason = pipeline.engine.fallback_reason
    assert reason and "no maps of the scene: it cannot be loaded (CUDA out of memory" in reason
    assert "details" not in reason
    with pytest.raises(RuntimeError, match="out of memory"):
        load_pipeline(config)
