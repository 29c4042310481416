"""The full-size network where the embedded one's pipeline stands."""

from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Intrinsics, PerceptionError, Task
from thfm_ros.model.genception_import import import_release
from thfm_ros.model.genception_parts import Profile
from thfm_ros.model.genception_release import find_release
from thfm_ros.model.genception_stream import GenceptionPipeline, load_genception_pipeline
from thfm_ros.window import FrameWindow

DEPTH = frozenset({Task.DEPTH})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("release")
    reference.write_checkpoint_folder(folder)
    out = folder / "tiny.safetensors"
    import_release(find_release(folder), out, profile=Profile(5, 48, 32))
    return out


@pytest.fixture
def pipeline(checkpoint: Path) -> GenceptionPipeline:
    return load_genception_pipeline(checkpoint, Config())


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


def test_each_step_perceives_the_newest_frame_in_its_own_size(pipeline: GenceptionPipeline) -> None:
    for clip in clips(7):
        seen = pipeline.step(clip, DEPTH)
        assert (seen.stamp_ns, seen.width, seen.height) == (clip.newest.stamp_ns, 40, 30)
        assert seen.depth_relative is not None
        assert np.isfinite(seen.depth_relative).all()
        assert seen.mask is None  # not asked for, not computed
    assert pipeline.last_timings_ms["total"] > 0


def test_frames_that_no_step_was_made_for_are_in_the_window_all_the_same(
    pipeline: GenceptionPipeline, checkpoint: Path
) -> None:
    every = clips(6)
    for clip in every:
        one = pipeline.step(clip, DEPTH)
    late = load_genception_pipeline(checkpoint, Config())
    for clip in (every[1], every[2], every[5]):  # each clip holds four frames
        other = late.step(clip, DEPTH)
    assert one.depth_relative is not None and other.depth_relative is not None
    # Each stream has its own unit.
    unit = np.median(one.depth_relative) / np.median(other.depth_relative)
    np.testing.assert_allclose(
        one.depth_relative, unit * other.depth_relative, rtol=1e-3, atol=1e-4
    )


def test_a_broken_stream_begins_anew(pipeline: GenceptionPipeline, checkpoint: Path) -> None:
    stream = clips(8, gap_before=5)
    for clip in stream:
        after = pipeline.step(clip, DEPTH)
    fresh = load_genception_pipeline(checkpoint, Config())
    for clip in stream[5:]:
        alone = fresh.step(clip, DEPTH)
    assert after.depth_relative is not None and alone.depth_relative is not None
    np.testing.assert_array_equal(after.depth_relative, alone.depth_relative)


def test_what_cannot_be_done_is_refused(pipeline: GenceptionPipeline) -> None:
    (clip,) = clips(1)
    with pytest.raises(PerceptionError, match="cannot estimate bodies"):
        pipeline.step(clip, frozenset({Task.BODIES}))
    odd = Intrinsics(1, 1, 1, 1, width=64, height=48)
    frame = Frame(clip.newest.rgb, 99, "camera", odd)
    with pytest.raises(PerceptionError, match="calibration is for pictures of 64x48"):
        pipeline.step(Clip((frame,), 9), DEPTH)


def test_its_description_says_what_runs_where(pipeline: GenceptionPipeline) -> None:
    assert "PyTorch" in pipeline.engine.description
    assert "48x32x5" in pipeline.engine.description
    assert pipeline.engine.card.family == "genception"
    assert pipeline.with_config(Config()).engine is pipeline.engine
