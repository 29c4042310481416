# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline of the full-size network, which has the interface of the embedded one's."""

from pathlib import Path

import cv2
import genception_fixtures as reference
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.commands import main as cli
from thfm_ros.config import Config, EngineConfig, WindowConfig
from thfm_ros.contract import Clip, Frame, Intrinsics, PerceptionError, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.genception.pipeline import GenceptionPipeline
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.perception.frame_window import FrameWindow

DEPTH = frozenset({Task.DEPTH})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"))


def load(checkpoint: Path) -> Pipeline:
    threads = torch.get_num_threads()
    return load_pipeline(Config(engine=EngineConfig(checkpoint=str(checkpoint), threads=threads)))


@pytest.fixture
def pipeline(checkpoint: Path) -> Pipeline:
    return load(checkpoint)


def clips(count: int, gap_before: int | None = None) -> list[Clip]:
    """Clips from the node's frame window, with a gap of 5 s before a frame if given."""
    window, rng, clips = FrameWindow(Config().window), np.random.default_rng(1), []
    for number in range(count):
        gap_ns = 5_000_000_000 if gap_before is not None and number >= gap_before else 0
        rgb = rng.integers(0, 256, (30, 40, 3), np.uint8)
        clip = window.push(Frame(rgb, 1 + number * 33_000_000 + gap_ns, "camera"))
        assert clip is not None
        clips.append(clip)
    return clips


def test_each_step_perceives_the_newest_frame_at_its_size(pipeline: Pipeline) -> None:
    for clip in clips(7):
        perception = pipeline.step(clip, DEPTH)
        size = (perception.width, perception.height)
        assert (perception.stamp_ns, *size) == (clip.newest.stamp_ns, 40, 30)
        assert perception.depth_relative is not None
        assert np.isfinite(perception.depth_relative).all()
        assert perception.mask is None  # not requested, not computed
    assert pipeline.last_timings_ms["total"] > 0


def test_window_contains_frames_between_steps(pipeline: Pipeline, checkpoint: Path) -> None:
    stream = clips(6)
    for clip in stream:
        all_steps = pipeline.step(clip, DEPTH)
    other = load(checkpoint)
    for clip in (stream[1], stream[2], stream[5]):  # each clip contains four frames
        some_steps = other.step(clip, DEPTH)
    assert all_steps.depth_relative is not None and some_steps.depth_relative is not None
    # Each stream has its own unit.
    unit = np.median(all_steps.depth_relative) / np.median(some_steps.depth_relative)
    np.testing.assert_allclose(
        all_steps.depth_relative, unit * some_steps.depth_relative, rtol=1e-3, atol=1e-4
    )


def test_gap_in_the_stream_starts_a_new_stream(pipeline: Pipeline, checkpoint: Path) -> None:
    stream = clips(8, gap_before=5)
    for clip in stream:
        after_gap = pipeline.step(clip, DEPTH)
    other = load(checkpoint)
    for clip in stream[5:]:
        new_stream = other.step(clip, DEPTH)
    assert after_gap.depth_relative is not None and new_stream.depth_relative is not None
    np.testing.assert_array_equal(after_gap.depth_relative, new_stream.depth_relative)


def test_unsupported_task_and_wrong_calibration_are_rejected(pipeline: Pipeline) -> None:
    (clip,) = clips(1)
    with pytest.raises(PerceptionError, match="cannot estimate bodies"):
        pipeline.step(clip, frozenset({Task.BODIES}))
    wrong_size = Intrinsics(1, 1, 1, 1, width=64, height=48)
    frame = Frame(clip.newest.rgb, 99, "camera", wrong_size)
    with pytest.raises(PerceptionError, match="calibration is for images of 64x48"):
        pipeline.step(Clip((frame,), 9), DEPTH)


def test_description_names_runtime_and_profile(pipeline: Pipeline) -> None:
    assert isinstance(pipeline, GenceptionPipeline)
    assert "PyTorch" in pipeline.engine.description
    assert "48x32x5" in pipeline.engine.description
    assert pipeline.engine.card.family == "genception"


def test_another_configuration_keeps_the_network(pipeline: Pipeline) -> None:
    long = Config(window=WindowConfig(length=30))
    assert pipeline.with_config(long).engine is pipeline.engine
    assert pipeline.with_config(long).config.window.length == 30


def test_window_is_at_least_as_long_as_the_networks(pipeline: Pipeline) -> None:
    assert Config().window.length < 5  # precondition of this test
    assert pipeline.config.window.length == 5


@pytest.mark.parametrize("kind", ["onnx", "tensorrt"])
def test_pytorch_replaces_an_unusable_engine_with_a_reported_reason(
    checkpoint: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    threads = torch.get_num_threads()
    config = EngineConfig(checkpoint=str(checkpoint), kind=kind, threads=threads)
    engine = load_pipeline(Config(engine=config)).engine
    assert engine.description.startswith("PyTorch")
    assert engine.fallback_reason and f"(instead of {kind}: " in engine.description
    assert "PyTorch runs the network instead" in caplog.text


def test_full_size_checkpoint_is_rejected_by_load_engine(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="not run step by step"):
        load_engine(find_checkpoint(str(checkpoint)), EngineConfig())


def test_perceive_command_on_a_video(checkpoint: Path, tmp_path: Path) -> None:
    video = cv2.VideoWriter(
        str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (40, 30)
    )
    for clip in clips(3):
        video.write(clip.newest.rgb)
    video.release()
    words = ["perceive", tmp_path / "in.avi", "--out", tmp_path, "--overlay", "--hfov", "60"]
    words += ["--checkpoint", checkpoint, "--set", f"engine.threads={torch.get_num_threads()}"]
    assert cli.main([str(word) for word in words]) == 0
    arrays = np.load(tmp_path / "perception.npz")
    assert arrays["frames"].tolist() == [0, 1, 2] and arrays["ids"].shape == (3, 0)
    assert np.isfinite(arrays["depth_relative"]).all(), "never metres, whatever the lens"
    assert np.isnan(arrays["depth_m"]).all()
    assert np.isfinite(arrays["mask"]).all() and "parts" not in arrays
    assert (tmp_path / "overlay.mp4").stat().st_size > 0
