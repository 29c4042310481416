# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A tiny checkpoint of the full-size family, from frames to perceptions."""

from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from formula_weights import fill
from safetensors.torch import save_file

from thfm_ros.contract import Frame, Perception, PerceptionError, Task
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.clip_input import frames_to_network, letterbox
from thfm_ros.genception.depth_colour import depth_to_colour
from thfm_ros.genception.import_weights import import_release
from thfm_ros.genception.release_folder import find_release
from thfm_ros.genception.runner import GenceptionRunner
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.tasks import decode_depth
from thfm_ros.genception.tiny_vae import TinyVae
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.model.card import ModelCard

ALL = frozenset({Task.DEPTH, Task.NORMALS, Task.SEGMENTATION})
PROFILE = Profile(frames=5, width=48, height=32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> GenceptionCheckpoint:
    folder: Path = tmp_path_factory.mktemp("release")
    reference.write_checkpoint_folder(folder)
    import_release(find_release(folder), folder / "tiny.safetensors")
    return load_checkpoint(folder / "tiny.safetensors", dtype=torch.float32)


def frames(count: int, width: int = 40, height: int = 30) -> list[Frame]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    return [Frame(rgb, 10 + 33 * i, "camera") for i, rgb in enumerate(images)]


def run(runner: GenceptionRunner, stream: list[Frame], tasks: frozenset[Task]) -> list[Perception]:
    perceptions = [each for frame in stream for each in runner.push(frame, tasks)]
    return perceptions + runner.finish(tasks)


def test_every_frame_is_perceived_once_with_its_stamp_and_size(
    checkpoint: GenceptionCheckpoint,
) -> None:
    stream = frames(8)
    perceptions = run(GenceptionRunner(checkpoint, PROFILE, stride=2), stream, ALL)
    assert [each.stamp_ns for each in perceptions] == [frame.stamp_ns for frame in stream]
    for each in perceptions:
        assert each.depth_relative is not None and each.depth_relative.shape == (30, 40)
        assert each.normals is not None and each.normals.shape == (30, 40, 3)
        assert each.mask is not None and 0 <= each.mask.min() <= each.mask.max() <= 1
        assert each.bodies == () and each.depth_m is None


@torch.no_grad()
def test_published_depth_equals_the_decoded_network_output(
    checkpoint: GenceptionCheckpoint,
) -> None:
    stream = frames(5, width=48, height=32)  # nothing is resized or padded
    perceptions = run(
        GenceptionRunner(checkpoint, PROFILE, stride=5), stream, frozenset({Task.DEPTH})
    )
    clip = frames_to_network([frame.rgb for frame in stream], letterbox(48, 32, (48, 32)))
    latents = checkpoint.vae.encode(clip)
    predicted = checkpoint.transformer(latents, checkpoint.prompts[Task.DEPTH]).video_latents
    expected = decode_depth((checkpoint.vae.decode(predicted)[0].transpose(0, 1) + 1) / 2)
    actual = np.stack(
        [each.depth_relative for each in perceptions if each.depth_relative is not None]
    )
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_stream_shorter_than_the_window_is_padded(checkpoint: GenceptionCheckpoint) -> None:
    perceptions = run(
        GenceptionRunner(checkpoint, PROFILE, stride=5), frames(2), frozenset({Task.DEPTH})
    )
    assert len(perceptions) == 2


def test_task_without_a_prompt_is_rejected(checkpoint: GenceptionCheckpoint) -> None:
    runner = GenceptionRunner(checkpoint, PROFILE, stride=1)
    with pytest.raises(PerceptionError, match="cannot estimate bodies; it can: depth"):
        runner.push(frames(1)[0], frozenset({Task.BODIES}))


class FixedDepthNetwork:
    """A network that predicts the same depth map in every pass, each time in another unit."""

    device, dtype, description = torch.device("cpu"), torch.float32, ""
    fallback_reason: str | None = None

    def __init__(self, card: ModelCard, depth: torch.Tensor, units: list[float]) -> None:
        self.card = card
        self._depth, self._units = depth, iter(units)

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        return video

    def predict(self, latents: torch.Tensor, task: Task) -> GenceptionOutputs:
        assert task is Task.DEPTH
        return GenceptionOutputs(latents, latents, latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        rgb = depth_to_colour((self._depth * next(self._units)).expand(5, 32, 48))
        return (rgb.movedim(-1, 0) * 2 - 1)[None]


def test_depth_keeps_one_unit_across_passes(checkpoint: GenceptionCheckpoint) -> None:
    true = torch.rand(32, 48) * 2 + 1
    network = FixedDepthNetwork(checkpoint.card, true, [1.0, 1.5, 0.5, 2.0])
    runner = GenceptionRunner(network, PROFILE, stride=2)
    perceptions = run(runner, frames(9, width=48, height=32), frozenset({Task.DEPTH}))
    assert len(perceptions) == 9
    for each in perceptions:
        assert each.depth_relative is not None
        np.testing.assert_allclose(each.depth_relative, true.numpy(), rtol=1e-3)


def test_tiny_vae_replaces_the_vae(tmp_path: Path) -> None:
    reference.write_checkpoint_folder(tmp_path)
    import_release(find_release(tmp_path), tmp_path / "tiny.safetensors")
    save_file(fill(TinyVae()), tmp_path / "taew2_1.safetensors")
    loaded = load_checkpoint(
        tmp_path / "tiny.safetensors",
        dtype=torch.float32,
        tiny_vae=tmp_path / "taew2_1.safetensors",
    )
    assert isinstance(loaded.vae, TinyVae)
    perceptions = run(
        GenceptionRunner(loaded, PROFILE, stride=5), frames(5), frozenset({Task.DEPTH})
    )
    assert len(perceptions) == 5
