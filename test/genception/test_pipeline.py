"""The full-size network where the embedded one's pipeline stands."""

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
    """Clips as the node's window hands them over, with a hole in the stream if asked."""
    window, rng, found = FrameWindow(Config().window), np.random.default_rng(1), []
    for number in range(count):
        late = 5_000_000_000 if gap_before is not None and number >= gap_before else 0
        rgb = rng.integers(0, 256, (30, 40, 3), np.uint8)
        clip = window.push(Frame(rgb, 1 + number * 33_000_000 + late, "camera"))
        assert clip is not None
        found.append(clip)
    return found


def test_each_step_perceives_the_newest_frame_in_its_own_size(pipeline: Pipeline) -> None:
    for clip in clips(7):
        seen = pipeline.step(clip, DEPTH)
        assert (seen.stamp_ns, seen.width, seen.height) == (clip.newest.stamp_ns, 40, 30)
        assert seen.depth_relative is not None
        assert np.isfinite(seen.depth_relative).all()
        assert seen.mask is None  # not asked for, not computed
    assert pipeline.last_timings_ms["total"] > 0


def test_frames_that_no_step_was_made_for_are_in_the_window_all_the_same(
    pipeline: Pipeline, checkpoint: Path
) -> None:
    every = clips(6)
    for clip in every:
        one = pipeline.step(clip, DEPTH)
    late = load(checkpoint)
    for clip in (every[1], every[2], every[5]):  # each clip holds four frames
        other = late.step(clip, DEPTH)
    assert one.depth_relative is not None and other.depth_relative is not None
    # Each stream has its own unit.
    unit = np.median(one.depth_relative) / np.median(other.depth_relative)
    np.testing.assert_allclose(
        one.depth_relative, unit * other.depth_relative, rtol=1e-3, atol=1e-4
    )


def test_a_broken_stream_begins_anew(pipeline: Pipeline, checkpoint: Path) -> None:
    stream = clips(8, gap_before=5)
    for clip in stream:
        after = pipeline.step(clip, DEPTH)
    fresh = load(checkpoint)
    for clip in stream[5:]:
        alone = fresh.step(clip, DEPTH)
    assert after.depth_relative is not None and alone.depth_relative is not None
    np.testing.assert_array_equal(after.depth_relative, alone.depth_relative)


def test_what_cannot_be_done_is_refused(pipeline: Pipeline) -> None:
    (clip,) = clips(1)
    with pytest.raises(PerceptionError, match="cannot estimate bodies"):
        pipeline.step(clip, frozenset({Task.BODIES}))
    odd = Intrinsics(1, 1, 1, 1, width=64, height=48)
    frame = Frame(clip.newest.rgb, 99, "camera", odd)
    with pytest.raises(PerceptionError, match="calibration is for images of 64x48"):
        pipeline.step(Clip((frame,), 9), DEPTH)


def test_its_description_says_what_runs_where(pipeline: Pipeline) -> None:
    assert isinstance(pipeline, GenceptionPipeline)
    assert "PyTorch" in pipeline.engine.description
    assert "48x32x5" in pipeline.engine.description
    assert pipeline.engine.card.family == "genception"


def test_another_configuration_keeps_the_network(pipeline: Pipeline) -> None:
    long = Config(window=WindowConfig(length=30))
    assert pipeline.with_config(long).engine is pipeline.engine
    assert pipeline.with_config(long).config.window.length == 30


def test_the_window_is_at_least_that_of_the_network(pipeline: Pipeline) -> None:
    assert Config().window.length < 5  # or else this shows nothing
    assert pipeline.config.window.length == 5


@pytest.mark.parametrize("kind", ["onnx", "tensorrt"])
def test_what_cannot_run_it_is_replaced_by_pytorch_and_everybody_is_told(
    checkpoint: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    threads = torch.get_num_threads()
    engine = EngineConfig(checkpoint=str(checkpoint), kind=kind, threads=threads)
    description = load_pipeline(Config(engine=engine)).engine.description
    assert description.startswith("PyTorch") and f"(instead of {kind}: " in description
    assert "PyTorch runs the network instead" in caplog.text


def test_it_is_no_engine_of_the_embedded_network(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="not run step by step"):
        load_engine(EngineConfig(checkpoint=str(checkpoint)))


def test_a_video_is_perceived_from_the_command_line(checkpoint: Path, tmp_path: Path) -> None:
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
