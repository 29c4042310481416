# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm calibrate-tokens` and the skeletons that the full-size pipeline has after it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from random_skeletons import FOCAL, HEIGHT, WIDTH, poses
from torch import Tensor

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.commands import calibrate_tokens
from thfm_ros.commands import main as cli
from thfm_ros.config import Config, EngineConfig
from thfm_ros.contract import Clip, Frame, Intrinsics, Perception, Task
from thfm_ros.genception import engine_selection
from thfm_ros.genception.pipeline import GenceptionPipeline
from thfm_ros.genception.token_calibration import calibrate
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.loading import load_pipeline
from thfm_ros.model.card import CardError, ModelCard
from thfm_ros.model.weights import read_card
from thfm_ros.skeleton import Joint
from thfm_ros.synth.baking.capsules import capsule_pack

K = Intrinsics(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
ORDER = np.random.default_rng(0).permutation(len(Joint))[:33]
KNOWN = poses(21)
STEP = 3  # grey levels between the images of two poses


class StandIn:
    """A network whose token table shows the pose whose number the image has as its grey level."""

    description = "stand-in"
    fallback_reason: str | None = None
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, card: ModelCard, tables: dict[str, np.ndarray], mask: float = 1.0) -> None:
        self.card, self._tables, self._mask = card, tables, mask

    def encode(self, video: Tensor) -> Tensor:
        return video

    def predict(self, latents: Tensor, task: Task) -> GenceptionOutputs:
        middle = latents[0, 0, :, latents.shape[3] // 2, latents.shape[4] // 2]
        numbers = ((middle + 1) * 127.5 / STEP).round().long().numpy()
        tokens = [
            torch.from_numpy(self._tables[name][numbers])[None] for name in ("tokens1", "tokens2")
        ]
        return GenceptionOutputs(torch.full_like(latents, 2 * self._mask - 1), *tokens)

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def image(number: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), number * STEP, np.uint8)


def shuffled(points: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(points[:, ORDER][..., ::-1] * -scale + 0.7)


TABLES = {
    "camera": {
        "tokens1": np.random.default_rng(1).normal(size=(len(KNOWN.clip), 13, 1)),
        "tokens2": shuffled(KNOWN.positions_m, 100),
    },
    "image and root_relative": {
        "tokens1": shuffled(KNOWN.points("image"), 2),
        "tokens2": shuffled(KNOWN.points("root_relative"), 5),
    },
}


def rendered(*_: object) -> Iterator[dict[str, np.ndarray]]:
    """Clips as the renderer makes them, of `KNOWN`."""
    begins = [*np.flatnonzero(np.diff(KNOWN.clip, prepend=-1)), len(KNOWN.clip)]
    for begin, end in pairwise(begins):
        part = slice(begin, end)
        yield {
            "rgb": np.stack([image(number) for number in range(begin, end)]),
            "keypoints3d": KNOWN.positions_m[part, None],
            "keypoints2d": KNOWN.pixels[part, None],
        }


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"tables": TABLES[request.param], "mask": 1.0}
    monkeypatch.setattr(
        engine_selection, "load_genception", lambda file, _: StandIn(file.card, **options)
    )
    monkeypatch.setattr(calibrate_tokens, "rendered_clips", rendered)
    return options


def perceived(path: Path, tasks: frozenset[Task], frames: int = 3) -> list[Perception]:
    pipeline = load_pipeline(Config(engine=EngineConfig(checkpoint=str(path))))
    assert isinstance(pipeline, GenceptionPipeline)
    results = []
    for number in range(frames):
        frame = Frame(image(number), 1 + number, "camera", K)
        results.append(pipeline.step(Clip((frame,), 1), tasks))
    return results


@pytest.mark.parametrize("stand_in", list(TABLES), indirect=True)
def test_skeletons_appear_after_the_calibration(
    stand_in: dict[str, Any], imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "with joints.safetensors"
    assert cli.main(["calibrate-tokens", str(imported), "--out", str(out)]) == 0
    assert "33 of 33 rows are joints" in capsys.readouterr().out
    assert Task.BODIES in read_card(out).tasks and Task.BODIES not in read_card(imported).tasks
    results = perceived(out, frozenset({Task.BODIES}))
    assert all(len(each.bodies) == 1 and each.mask is None for each in results)
    assert len({each.bodies[0].id for each in results}) == 1, "one person keeps one id"
    absent = np.setdiff1d(np.arange(len(Joint)), ORDER)
    for number, each in enumerate(results):
        body = each.bodies[0]
        np.testing.assert_allclose(
            body.keypoints[ORDER, :2], KNOWN.pixels[number, ORDER], atol=0.05
        )
        np.testing.assert_allclose(
            body.positions_m[ORDER], KNOWN.positions_m[number, ORDER], atol=0.02
        )
        assert np.isnan(body.keypoints[absent]).all() and np.isnan(body.positions_m[absent]).all()
        assert body.score > 0.9


@pytest.mark.parametrize("stand_in", ["camera"], indirect=True)
def test_tables_without_a_person_on_the_mask_are_no_body(
    stand_in: dict[str, Any], imported: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.safetensors"
    assert cli.main(["calibrate-tokens", str(imported), "--out", str(out)]) == 0
    stand_in["mask"] = 0.0
    (result, *_) = perceived(out, frozenset({Task.BODIES, Task.SEGMENTATION}))
    assert result.bodies == () and result.mask is not None


@pytest.mark.parametrize("stand_in", ["camera"], indirect=True)
def test_noise_is_refused_and_the_file_stays(
    stand_in: dict[str, Any], imported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(2).normal(size=(len(KNOWN.clip), 33, 3))
    stand_in["tables"] = {**TABLES["camera"], "tokens2": noise}
    before = imported.read_bytes()
    assert cli.main(["calibrate-tokens", str(imported)]) == 2
    assert "no token table could be read as joints" in caplog.text
    assert imported.read_bytes() == before


def test_relative_positions_alone_give_no_task(imported: Path) -> None:
    found = calibrate("tokens2", TABLES["image and root_relative"]["tokens2"], KNOWN, "depth")
    card = calibrate_tokens.card_with_maps(read_card(imported), (found,))
    assert Task.BODIES not in card.tasks and card.joint_names == ()
    assert "where in the image" in calibrate_tokens._meaning(card)
    placed = replace(found, space="camera")
    card = calibrate_tokens.card_with_maps(read_card(imported), (placed,))
    assert card.tasks[-1] is Task.BODIES


def test_a_card_with_bodies_but_without_their_tables_is_refused(imported: Path) -> None:
    card = read_card(imported)
    network = StandIn(replace(card, tasks=(*card.tasks, Task.BODIES)), TABLES["camera"])
    with pytest.raises(CardError, match="calibrate-tokens"):
        GenceptionPipeline(network, Config())


def test_the_weights_are_copied_unchanged(imported: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from thfm_ros.genception.card_writer import write_with_card

    card = replace(read_card(imported), trained_on="x" * 1234)
    write_with_card(imported, tmp_path / "copy.safetensors", card)
    before, after = load_file(imported), load_file(tmp_path / "copy.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_card(tmp_path / "copy.safetensors") == card
    assert [path.name for path in tmp_path.iterdir()] == ["copy.safetensors"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nano"], "of the nano family"),
        (["{path}", "--clips", "0"], "clips"),
        (["none.safetensors"], "neither a checkpoint"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    words: list[str], text: str, imported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [word.format(path=imported) for word in words]
    assert cli.main(["calibrate-tokens", *words]) == 2
    assert text in caplog.text


@pytest.mark.slow
def test_random_weights_on_rendered_people_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("numba")
    path = reference.write_checkpoint(tmp_path / "release")
    capsule_pack().save(tmp_path / "capsules.npz")
    words = ["calibrate-tokens", path, "--pack", tmp_path / "capsules.npz", "--clips", "12"]
    assert cli.main([str(word) for word in words]) == 2
    assert "no token table could be read as joints" in caplog.text
    assert "tokens1 cannot be read" in capsys.readouterr().out
