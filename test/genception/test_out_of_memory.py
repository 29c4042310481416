# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A network that does not fit into memory: a smaller profile in mid-stream, an error at load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, Frame, PerceptionError, Task
from thfm_ros.genception import checkpoint as checkpoint_module
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.out_of_memory import (
    OutOfMemoryError,
    is_out_of_memory,
    smaller_profile,
)
from thfm_ros.genception.pipeline import GenceptionPipeline
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.loading import load_pipeline
from thfm_ros.scene_pair import ScenePair

GPU_ERROR = "CUDA out of memory. Tried to allocate 3.00 GiB\nand details"
FRAMES = [
    Frame(np.random.default_rng(i).integers(0, 255, (32, 48, 3), np.uint8), 1 + i * 10**8, "camera")
    for i in range(12)
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"), Profile(9, 48, 32))


@pytest.fixture
def network(path: Path) -> GenceptionCheckpoint:
    return load_checkpoint(path, dtype=torch.float32)


def with_memory_for(
    network: GenceptionCheckpoint, frames: int, error: Exception | None = None
) -> None:
    """Let passes over more frames fail."""
    encode: Callable[..., Any] = network.vae.encode

    def limited(video: torch.Tensor) -> Any:
        if video.shape[2] > frames:
            raise error or torch.OutOfMemoryError(GPU_ERROR)
        return encode(video)

    network.vae.encode = limited  # type: ignore[method-assign]


def depth(pipeline: GenceptionPipeline, frames: list[Frame]) -> np.ndarray:
    result = pipeline.step(Clip(tuple(frames), 1), frozenset({Task.DEPTH}))
    assert result.stamp_ns == frames[-1].stamp_ns
    assert result.depth_relative is not None
    # Each stream has its own unit.
    return np.asarray(result.depth_relative / np.median(result.depth_relative))


@given(
    st.integers(1, 25).map(lambda later: 1 + 4 * later),
    st.integers(1, 80).map(lambda patches: 16 * patches),
    st.integers(1, 80).map(lambda patches: 16 * patches),
)
def test_profiles_become_smaller_until_none_is_left(frames: int, width: int, height: int) -> None:
    profile, steps = Profile(frames, width, height), 0
    while (smaller := smaller_profile(profile)) is not None:
        assert smaller.frames <= profile.frames
        assert smaller.width <= profile.width and smaller.height <= profile.height
        assert smaller != profile
        assert abs(smaller.width / smaller.height / (width / height) - 1) < 0.2, "the same aspect"
        profile, steps = smaller, steps + 1
    assert profile.frames == 5 and steps < 15


def test_the_window_becomes_shorter_before_images_become_smaller() -> None:
    profiles = [Profile(17, 832, 480)]
    while (smaller := smaller_profile(profiles[-1])) is not None:
        profiles.append(smaller)
    names = [each.name for each in profiles]
    assert names[1:5] == ["832x480x9", "832x480x5", "592x336x5", "416x240x5"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(GPU_ERROR),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you"),
    ],
)
@pytest.mark.fault("engine", "memory does not suffice for a pass of the full-size network")
def test_a_pass_that_does_not_fit_runs_with_a_smaller_profile_and_tells(
    network: GenceptionCheckpoint, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_out_of_memory(error)
    network.description += ", 48x32x9"
    expected = depth(GenceptionPipeline(network, Config(), profile=Profile(5, 48, 32)), FRAMES[-5:])
    pipeline = GenceptionPipeline(network, Config())
    depth(pipeline, FRAMES[:-1])
    assert not caplog.text
    with_memory_for(network, 5, error)
    np.testing.assert_allclose(depth(pipeline, FRAMES), expected, rtol=1e-4)
    reason = network.fallback_reason or ""
    assert reason.startswith("out of memory with 48x32x9: 48x32x5 (")
    assert "details" not in reason
    assert reason in caplog.text
    assert network.description.endswith("48x32x5")
    caplog.clear()
    again = pipeline.with_config(Config())
    np.testing.assert_allclose(depth(again, FRAMES), expected, rtol=1e-4)
    assert not caplog.text, "the smaller profile stays"


def test_at_the_start_of_a_stream_the_smaller_window_ends_with_the_newest_frame(
    network: GenceptionCheckpoint,
) -> None:
    expected = depth(GenceptionPipeline(network, Config(), profile=Profile(5, 48, 32)), FRAMES[:2])
    with_memory_for(network, 5)
    np.testing.assert_allclose(
        depth(GenceptionPipeline(network, Config()), FRAMES[:2]), expected, rtol=1e-4
    )


def test_if_no_profile_fits_the_error_says_what_to_do(network: GenceptionCheckpoint) -> None:
    with_memory_for(network, 0)
    pipeline = GenceptionPipeline(network, Config())
    with pytest.raises(OutOfMemoryError, match=r"48x32x5 \(CUDA out of memory.*GiB\)\. Free") as e:
        depth(pipeline, FRAMES)
    assert "details" not in str(e.value)


def test_other_errors_change_no_profile(network: GenceptionCheckpoint) -> None:
    with_memory_for(network, 0, RuntimeError("device-side assert"))
    pipeline = GenceptionPipeline(network, Config())
    with pytest.raises(RuntimeError, match="device-side assert"):
        depth(pipeline, FRAMES)
    assert network.fallback_reason is None


class Compiled:
    """Like the compiled engines, which have one size."""

    def __init__(self, network: GenceptionCheckpoint) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def test_compiled_engines_keep_their_profile(network: GenceptionCheckpoint) -> None:
    with_memory_for(network, 5)
    pipeline = GenceptionPipeline(Compiled(network), Config())
    with pytest.raises(OutOfMemoryError, match=r"with 48x32x9.*smaller --profile"):
        depth(pipeline, FRAMES)


@pytest.mark.fault("engine", "the weights of the full-size network do not fit into memory")
def test_weights_that_do_not_fit_are_an_error_and_beside_nano_a_diagnostic(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError(GPU_ERROR)

    monkeypatch.setattr(checkpoint_module, "_load_weights", fail)
    settings = {"engine.kind": "torch"}
    with pytest.raises(OutOfMemoryError, match=r"weights of .* do not fit .*CUDA out of memory"):
        load_pipeline(config_from({**settings, "engine.checkpoint": str(path)}))
    pair = load_pipeline(config_from({**settings, "engine.scene_checkpoint": str(path)}), live=True)
    assert isinstance(pair, ScenePair) and pair.scene is None
    assert "do not fit into the memory" in (pair.engine.fallback_reason or "")
    with pytest.raises(PerceptionError, match="do not fit"):
        load_pipeline(config_from({**settings, "engine.scene_checkpoint": str(path)}))
