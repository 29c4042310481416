"""Training: it learns, it resumes to the step, and what it writes can be loaded."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from painted_store import write_data

from thfm_ros.model.weights import load_network
from thfm_ros.synth.dataset import read_shard, write_shard
from thfm_ros.training.lifter_pretraining import PoseBank
from thfm_ros.training.recipe import RecipeError, TrainingRecipe, TrainingStage, read_recipe
from thfm_ros.training.shard_store import KEYS, Store
from thfm_ros.training.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def recipe(steps: int, muon: bool = False) -> TrainingRecipe:
    stage = TrainingStage(
        name="tiny",
        steps=steps,
        batch=2,
        size=32,
        frame_size=(48, 32),
        clip_share=0.3,
        lift_batch=4,
        muon=muon,
    )
    return TrainingRecipe(stages=(stage,), warm_up=1)


@pytest.mark.parametrize("muon", [False, True])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, muon: bool
) -> None:
    whole = Trainer(tmp_path / "whole", recipe(6, muon), data, "test")
    whole.run(1e9, 1e9, workers=0, heldout=2)

    first = Trainer(tmp_path / "parts", recipe(6, muon), data, "test")
    first.run(0.0, 1e9, workers=0, heldout=2)  # out of time after one step
    assert first.step == 1
    second = Trainer(tmp_path / "parts", recipe(6, muon), data, "test")
    second.run(1e9, 1e9, workers=0, heldout=2)

    assert second.step == whole.step == 6
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_run_writes_loadable_weights_figures_and_images(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, recipe(3), data, "painted people")
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    network, card = load_network(tmp_path / "nano.safetensors")
    assert card.trained_on == "painted people"
    assert not network.training
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 3 and 0 <= row["mask_iou"] <= 1
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert (tmp_path / "heldout.png").stat().st_size > 1000


@pytest.mark.parametrize("muon", [False, True])
def test_the_loss_falls_on_painted_people(data: Path, tmp_path: Path, muon: bool) -> None:
    trainer = Trainer(tmp_path, recipe(120, muon), data, "test")
    seen: list[float] = []
    step = trainer._train

    def watched(*args: object) -> None:
        step(*args)  # type: ignore[arg-type]
        seen.append(trainer.smooth_losses["mask"])

    trainer._train = watched  # type: ignore[method-assign,assignment]
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    assert seen[-1] < 0.9 * seen[2]


def test_a_stage_with_another_optimizer_goes_on_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    stages = (*recipe(1).stages, *recipe(1, muon=True).stages)
    trainer = Trainer(tmp_path, TrainingRecipe(stages=stages, warm_up=1), data, "test")
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run(1e9, 1e9, workers=0, heldout=2)
    moved = {name: (value - before[name]).abs().max().item()
             for name, value in trainer.network.named_parameters()}  # fmt: skip
    still = [name for name, by in moved.items() if not 0 < by < 0.1]
    assert trainer.step == 2 and not still
    assert Trainer(tmp_path, TrainingRecipe(stages=stages), data, "test").optimizer.muon


def test_views_of_poses_are_what_a_camera_would_see(data: Path) -> None:
    """A pinhole maps the positions onto the peaks, up to one scale and shift per view."""
    views = PoseBank(Store(data / "train")).draw(np.random.default_rng(0), 16, noise=0.0)
    for peaks, space in zip(views.peaks.numpy(), views.positions.numpy(), strict=True):
        # x = s * (X + tx) / (Z + d) + c is linear in (s, s*tx - c*d.., ) once multiplied out:
        # x*Z = s*X - d*x + c*Z + (s*tx + c*d)
        x, (big_x, _, z) = peaks[:, 0], space.T
        table = np.stack([big_x, -x, z, np.ones_like(x)], 1)
        solved, *_ = np.linalg.lstsq(table, x * z, rcond=None)
        assert np.abs(table @ solved - x * z).max() < 2e-3


def test_a_recipe_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"stages": [{"name": "a", "steps": 1, "colour": 3}]}))
    with pytest.raises(RecipeError, match="colour"):
        read_recipe(path)


@pytest.mark.parametrize("text", ["", "\xff", "[]", "{}", '{"stages": 3}', '{"stages": [4]}'])
def test_what_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"recipe\.json is no recipe"):
        read_recipe(path)


def test_the_shipped_recipes_can_be_read() -> None:
    runs = sorted((Path(__file__).resolve().parents[2] / "runs").glob("*.json"))
    assert runs
    for path in runs:
        assert read_recipe(path).steps > 0


def test_a_damaged_shard_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_data(tmp_path) / "train"
    (folder / "shard_1.npz").write_bytes(b"not a zip file")
    store = Store(folder)
    assert len(store) == 24
    assert "shard_1.npz" in caplog.text


def test_a_shard_that_was_rendered_anew_is_unpacked_anew(tmp_path: Path) -> None:
    folder = write_data(tmp_path) / "train"
    first = Store(folder)
    assert first.read("rgb", first.frames[0]).any()
    arrays = read_shard(folder / "shard_0.npz", KEYS)
    black = {**arrays, "rgb": np.zeros_like(arrays["rgb"])}
    write_shard(folder / "shard_0.npz", black, {}, store="plain")
    again = Store(folder)
    assert not again.read("rgb", again.frames[0]).any()


def test_several_may_unpack_a_shard_at_once(tmp_path: Path) -> None:
    folder = write_data(tmp_path) / "train"
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store(folder), range(4)))
    assert [len(store) for store in stores] == [24] * 4
    assert sorted(path.name for path in folder.iterdir()) == ["shard_0.arrays", "shard_0.npz"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_everything_saved(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    trainer = Trainer(tmp_path, recipe(1000), data, "test")
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
def test_a_signal_to_all_processes_of_a_run_lets_it_save(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    stage = {"name": "tiny", "steps": 10**6, "batch": 2, "size": 32, "frame_share": 0}
    path.write_text(json.dumps({"stages": [stage]}))
    command = [sys.executable, "-m", "thfm_ros.commands.train", str(path), "--data", str(data)]
    command += ["--out", str(tmp_path), "--heldout", "2", "--evaluate-every", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    try:
        first = saved_step(tmp_path / "state.pt", process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
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


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    """Both see other images, yet end with the weights that the first one wrote."""
    path = tmp_path / "recipe.json"
    stage = {"name": "tiny", "steps": 2, "batch": 2, "size": 32, "frame_share": 0, "lift_batch": 4}
    path.write_text(json.dumps({"stages": [stage]}))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
    ]
    command += [
        "-m",
        "thfm_ros.commands.train",
        str(path),
        "--data",
        str(data),
        "--out",
        str(tmp_path),
    ]
    command += ["--workers", "0", "--heldout", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / "state.pt", weights_only=False)
    assert state["step"] == 2
    alone = Trainer(tmp_path / "alone", read_recipe(path), data, "test")
    alone.run(1e9, 1e9, workers=0, heldout=2)
    theirs = state["network"]["backbone.blocks.0.join.weight"]
    mine = alone.network.state_dict()["backbone.blocks.0.join.weight"]
    assert not torch.equal(theirs, mine)  # the second process' images counted
