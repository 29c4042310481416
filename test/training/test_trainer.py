# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Training: it learns, resumes at any step, and writes files that can be loaded."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_weights import random_prior
from painted_store import write_data
from small_networks import small_network

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import CheckpointError, load_network, nano_card, save_network
from thfm_ros.training import trainer as trainer_module
from thfm_ros.training.batches import Batches, TrainingData
from thfm_ros.training.collate import DetectionBatch
from thfm_ros.training.lifter_pretraining import PoseBank
from thfm_ros.training.prior import is_pretrained
from thfm_ros.training.recipe import RecipeError, TrainingRecipe, TrainingStage, read_recipe
from thfm_ros.training.shard_store import Store
from thfm_ros.training.trainer import Trainer, initial_network

STAGE = TrainingStage(
    name="tiny",
    steps=6,
    batch=2,
    size=32,
    frame_size=(48, 32),
    clip_share=0.3,
    lift_batch=4,
    depth=2,
    refine=1,
)
TWO_PARTS = replace(STAGE, detect_share=0.5, detect_size=(64, 48), detect_batch=2, muon=True)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a small network."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    network = small_network()
    save_network(network, nano_card("start", network, "nothing"), path)
    return path


def recipe(steps: int, muon: bool = False) -> TrainingRecipe:
    return TrainingRecipe(
        stages=(replace(STAGE, steps=steps, muon=muon),), warm_up=1, detect_depth=1
    )


def two_part_recipe(*stages: TrainingStage) -> TrainingRecipe:
    return TrainingRecipe(stages=stages or (TWO_PARTS,), warm_up=1, detect_depth=1)


def assert_equal(one: NanoNetwork, other: NanoNetwork) -> None:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], msg=name)


@pytest.mark.parametrize("muon", [False, True])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, start: Path, muon: bool
) -> None:
    whole = Trainer(tmp_path / "whole", recipe(6, muon), data, "test", begin_from=start)
    whole.run(1e9, 1e9, workers=0, heldout=2)

    first = Trainer(tmp_path / "parts", recipe(6, muon), data, "test", begin_from=start)
    first.run(0.0, 1e9, workers=0, heldout=2)  # out of time after one step
    assert first.step == 1
    second = Trainer(tmp_path / "parts", recipe(6, muon), data, "test")
    second.run(1e9, 1e9, workers=0, heldout=2)

    assert second.step == whole.step == 6
    assert_equal(whole.network, second.network)


def test_a_run_of_two_parts_resumes_before_and_after_it_has_grown(
    data: Path, tmp_path: Path, start: Path
) -> None:
    larger = replace(TWO_PARTS, name="larger", steps=3, depth=3, refine=2)
    recipe = two_part_recipe(replace(TWO_PARTS, steps=3), larger)
    whole = Trainer(tmp_path / "whole", recipe, data, "test", begin_from=start)
    whole.run(1e9, 1e9, workers=0, heldout=2)
    parts = tmp_path / "parts"
    for step in range(1, 6):
        trainer = Trainer(parts, recipe, data, "test", begin_from=start)
        trainer.run(0.0, 1e9, workers=0, heldout=2)
        assert trainer.step == step
    last = Trainer(parts, recipe, data, "test", begin_from=start)
    last.run(1e9, 1e9, workers=0, heldout=2)
    assert last.step == whole.step == 6
    assert (last.network.depth, len(last.network.refine)) == (3, 2)
    assert_equal(whole.network, last.network)
    assert_equal(whole.average, last.average)


def test_both_kinds_of_batches_train_their_part(data: Path, tmp_path: Path, start: Path) -> None:
    trainer = Trainer(tmp_path, two_part_recipe(), data, "test", begin_from=start)
    step, kinds = trainer._train, []

    def watched(batch: object, poses: PoseBank) -> None:
        before = {name: value.clone() for name, value in trainer.network.named_parameters()}
        kind = isinstance(batch, DetectionBatch)
        step(batch, poses)  # type: ignore[arg-type]
        kinds.append(kind)
        changed = {
            name
            for name, value in trainer.network.named_parameters()
            if not torch.equal(value, before[name])
        }
        assert ("detection.read.weight" in changed) or not kind
        assert ("readout.read.weight" in changed) or kind
        assert "encoder.blocks.0.depthwise.0.weight" in changed

    trainer._train = watched  # type: ignore[method-assign]
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    assert set(kinds) == {False, True}
    assert {"centres", "boxes", "target_mask", "mask"} <= set(trainer.smooth_losses)


def test_statistics_of_pretrained_layers_survive_a_run(
    data: Path, tmp_path: Path, start: Path
) -> None:
    larger = replace(TWO_PARTS, name="larger", steps=2, depth=3)
    recipe = two_part_recipe(replace(TWO_PARTS, steps=2), larger)
    trainer = Trainer(tmp_path, recipe, data, "test", begin_from=start)
    before = {name: value.clone() for name, value in trainer.network.named_buffers()}
    trainer.run(1e9, 0.0, workers=0, heldout=2)  # evaluations after each step
    for network in (trainer.network, trainer.average):
        for name, value in network.named_buffers():
            if name.startswith("encoder.") and name.endswith("running_var"):
                assert torch.equal(value, before[name]) == is_pretrained(name), name


def test_a_new_run_begins_from_a_checkpoint(data: Path, tmp_path: Path, start: Path) -> None:
    trainer = Trainer(tmp_path, two_part_recipe(), data, "test", begin_from=start)
    assert trainer.network.training and all(p.requires_grad for p in trainer.network.parameters())
    assert_equal(trainer.network, load_network(start)[0])
    assert_equal(trainer.average, trainer.network)


def test_a_checkpoint_that_does_not_fit_the_recipe_is_refused(tmp_path: Path, start: Path) -> None:
    with pytest.raises(RecipeError, match="detect_depth of 1, the recipe one of 2"):
        initial_network(replace(recipe(1), detect_depth=2), start)
    with pytest.raises(RecipeError, match="more than the first stage"):
        initial_network(two_part_recipe(replace(TWO_PARTS, depth=1)), start)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        initial_network(recipe(1), tmp_path / "none.safetensors")


def test_without_a_checkpoint_a_run_begins_with_the_prior(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prior.pth"
    torch.save(random_prior(), path)
    monkeypatch.setattr(trainer_module, "weights_file", lambda: path)
    network = initial_network(two_part_recipe(), None)
    assert (network.depth, network.detect_depth) == (2, 1)
    stem = network.state_dict()["encoder.stem.0.weight"]
    assert torch.equal(stem, random_prior()["_conv_stem.weight"])


@pytest.mark.usefixtures("plots")
def test_a_run_writes_loadable_weights_metrics_and_images(
    data: Path, start: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tmp_path, recipe(3), data, "painted people", begin_from=start)
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    network, card = load_network(tmp_path / "nano.safetensors")
    assert card.trained_on == "painted people"
    assert not network.training
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 3 and row["stage"] == "tiny" and 0 <= row["mask_iou"] <= 1
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert (tmp_path / "heldout.png").stat().st_size > 1000


@pytest.mark.parametrize("muon", [False, True])
def test_the_loss_falls_on_painted_people(
    data: Path, tmp_path: Path, start: Path, muon: bool
) -> None:
    trainer = Trainer(tmp_path, recipe(100, muon), data, "test", begin_from=start)
    step, mask_loss = trainer._train, []

    def watched(*args: object) -> None:
        step(*args)  # type: ignore[arg-type]
        mask_loss.append(trainer.smooth_losses["mask"])

    trainer._train = watched  # type: ignore[method-assign,assignment]
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    assert mask_loss[-1] < 0.9 * mask_loss[2]


def test_a_stage_with_another_optimizer_continues_with_the_same_weights(
    data: Path, tmp_path: Path, start: Path
) -> None:
    stages = (*recipe(1).stages, *recipe(1, muon=True).stages)
    both = TrainingRecipe(stages=stages, warm_up=1, detect_depth=1)
    trainer = Trainer(tmp_path, both, data, "test", begin_from=start)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    change = {
        name: (value - before[name]).abs().max().item()
        for name, value in trainer.network.named_parameters()
        if not name.startswith("detection.")  # crops do not train it
    }
    assert trainer.step == 2
    assert {name for name, by in change.items() if not 0 < by < 0.1} == set()
    assert Trainer(tmp_path, both, data, "test").optimizer.muon


@pytest.mark.fault("engine", "a gradient in training is NaN")
def test_a_gradient_that_is_not_finite_changes_no_weight(
    data: Path,
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        trainer_module, "weighted_sum", lambda losses, _: losses["mask"] * float("nan")
    )
    trainer = Trainer(tmp_path, recipe(1), data, "test", begin_from=start)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    assert "step 0: the gradient is nan, skipped" in caplog.text
    for name, value in trainer.network.named_parameters():
        assert torch.equal(value, before[name])


def test_views_of_skeletons_are_what_a_camera_would_see(data: Path) -> None:
    """A pinhole maps the positions onto the keypoints, up to one scale and shift per view."""
    views = PoseBank(Store(data / "train")).draw(np.random.default_rng(0), 16, noise=0.0)
    for peaks, positions in zip(views.peaks.numpy(), views.positions.numpy(), strict=True):
        # x = s * (X + tx) / (Z + d) + c, multiplied by Z + d, is linear in its unknowns:
        # x * Z = s * X - d * x + c * Z + (s * tx + c * d)
        x, (x_m, _, z_m) = peaks[:, 0], positions.T
        table = np.stack([x_m, -x, z_m, np.ones_like(x)], 1)
        solved, *_ = np.linalg.lstsq(table, x * z_m, rcond=None)
        assert np.abs(table @ solved - x * z_m).max() < 2e-3


def test_all_processes_train_the_same_part_in_a_step(data: Path) -> None:
    """Each has other images, but gradients are shared: see KIND_SEED."""
    kinds = []
    for number in (0, 1):
        batches = Batches(data, two_part_recipe(), first_step=0)
        batches._rank = number
        kinds.append([isinstance(batch, DetectionBatch) for batch in batches])
    assert kinds[0] == kinds[1] and set(kinds[0]) == {False, True}


def test_shards_and_hard_negatives_are_found_by_their_names(data: Path, tmp_path: Path) -> None:
    only_crops = TrainingData.open(data)
    assert only_crops.frames is None and only_crops.negatives is None
    folder = write_data(tmp_path)
    (folder / "frames").symlink_to(folder / "train")
    with_frames = TrainingData.open(folder)
    assert with_frames.negatives is not None
    assert with_frames.large_frames is with_frames.frames
    (folder / "frames320").symlink_to(folder / "train")
    assert TrainingData.open(folder).large_frames is not None
    samples = with_frames.draw_crops(np.random.default_rng(0), replace(STAGE, batch=40))
    assert 0 in [float(sample.presence[0]) for sample in samples]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.fault("process", "a signal during training")
def test_a_signal_ends_a_run_after_it_was_saved(
    data: Path, start: Path, tmp_path: Path, number: signal.Signals
) -> None:
    trainer = Trainer(tmp_path, recipe(1000), data, "test", begin_from=start)
    step = trainer._train

    def interrupted(*args: object) -> None:
        step(*args)  # type: ignore[arg-type]
        if trainer.step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    trainer._train = interrupted  # type: ignore[method-assign,assignment]
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    assert Trainer(tmp_path, recipe(1000), data, "test").step == trainer.step == 3
    assert signal.getsignal(number) is before


@pytest.mark.slow
@pytest.mark.fault("process", "a signal to all processes of a training")
def test_a_signal_to_all_processes_of_a_run_lets_it_save(
    data: Path, start: Path, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.json"
    stage = {"name": "tiny", "steps": 10**6, "batch": 2, "size": 32, "frame_share": 0}
    path.write_text(json.dumps({"detect_depth": 1, "stages": [stage]}))
    command = [sys.executable, "-m", "thfm_ros.commands.train", str(path), "--data", str(data)]
    command += ["--out", str(tmp_path), "--heldout", "2", "--evaluate-every", "1"]
    command += ["--begin-from", str(start)]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    try:
        first = saved_step(tmp_path / "state.pt", process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(300) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    last: int = torch.load(tmp_path / "state.pt", weights_only=False)["step"]
    assert last >= first


def saved_step(state: Path, process: "subprocess.Popen[bytes]") -> int:
    """The step of the first state that a run saves."""
    for _ in range(600):
        assert process.poll() is None
        if state.exists():
            step: int = torch.load(state, weights_only=False)["step"]
            time.sleep(2)
            return step
        time.sleep(0.1)
    raise AssertionError("nothing was saved in a minute")


def test_two_processes_train_one_network(data: Path, tmp_path: Path, start: Path) -> None:
    """Both train on other images, yet end with the same weights, which the first one writes."""
    path, out = tmp_path / "recipe.json", tmp_path / "out"
    stage = {"name": "tiny", "steps": 4, "batch": 2, "size": 32, "frame_share": 0, "lift_batch": 4}
    stage |= {"depth": 2, "refine": 1, "detect_share": 0.5, "detect_size": [64, 48]}
    path.write_text(json.dumps({"detect_depth": 1, "stages": [stage]}))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "thfm_ros.commands.train", str(path), "--data", str(data)]
    command += ["--out", str(out), "--workers", "0", "--heldout", "2", "--device", "cpu"]
    command += ["--begin-from", str(start)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(out / "state.pt", weights_only=False)
    assert state["step"] == 4
    alone = Trainer(tmp_path / "alone", read_recipe(path), data, "test", begin_from=start)
    alone.run(1e9, 1e9, workers=0, heldout=2)
    theirs = state["network"]["backbone.blocks.0.join.weight"]
    ours = alone.network.state_dict()["backbone.blocks.0.join.weight"]
    assert not torch.equal(theirs, ours)  # the second process' images have an effect


@pytest.mark.gpu
def test_a_run_on_a_gpu_resumes_on_a_cpu(data: Path, tmp_path: Path, start: Path) -> None:
    recipe = two_part_recipe(replace(TWO_PARTS, steps=3), replace(TWO_PARTS, depth=3, steps=3))
    cuda = torch.device("cuda:0")
    trainer = Trainer(tmp_path, recipe, data, "test", begin_from=start, device=cuda)
    trainer.run(0.0, 1e9, workers=0, heldout=2)
    assert next(trainer.network.parameters()).is_cuda
    again = Trainer(tmp_path, recipe, data, "test", device=cuda)
    again.run(1e9, 1e9, workers=0, heldout=2)
    assert again.step == 6
    on_cpu = Trainer(tmp_path, recipe, data, "test")
    assert_equal(again.network.cpu(), on_cpu.network)
