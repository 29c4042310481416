# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fine-tuning of a tiny full-size checkpoint, in one process and sharded over two."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
pytest.importorskip("peft", reason="fine-tuning needs thfm_ros[finetune]")

import finetuning_runs as runs

from thfm_ros.commands import main as cli
from thfm_ros.contract import PerceptionError
from thfm_ros.finetuning.export import export
from thfm_ros.finetuning.finetuner import Finetuner
from thfm_ros.finetuning.losses import new_token_map
from thfm_ros.finetuning.run_state import check_settings, load_state, newest_state, save_state
from thfm_ros.finetuning.sharding import process_mesh
from thfm_ros.genception.checkpoint import load_checkpoint
from thfm_ros.genception.token_map import CARD_ENTRY
from thfm_ros.model.card import CardError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two processes")


@pytest.fixture(scope="module")
def sharded(imported: Path, folder: Path) -> dict[str, Any]:
    return runs.in_two_processes(imported, folder)


@pytest.fixture(scope="module")
def single(imported: Path) -> tuple[Finetuner, list[dict[str, float]]]:
    run = runs.tuner(imported)
    return run, [run.step([runs.example(0), runs.example(1)]) for _ in range(runs.STEPS)]


def test_each_of_two_processes_holds_half_of_all_parameters(sharded: dict[str, Any]) -> None:
    assert sharded["all are DTensors"]
    assert sharded["share"] == pytest.approx([0.5, 0.5], abs=0.01)


def test_the_command_runs_in_two_processes_of_torchrun(
    sharded: dict[str, Any], imported: Path, folder: Path
) -> None:
    assert sharded["exit codes"] == [2, 0], "a batch of three for two processes, and of two"
    alone = folder / "alone"
    command = runs.words(imported, alone, folder / "data", "--steps", "1", "--batch", "2")
    assert cli.main(command) == 0
    one, two = load_file(folder / "alone.safetensors"), load_file(folder / "command.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)


def test_every_loss_falls_on_a_fixed_batch(sharded: dict[str, Any]) -> None:
    first, last = sharded["losses"][0], sharded["losses"][-1]
    assert set(first) == {"depth", "normals", "segmentation", "joints"}
    assert all(last[name] < 0.98 * first[name] for name in first), (first, last)


def test_two_processes_compute_the_same_as_one(
    sharded: dict[str, Any], single: tuple[Finetuner, list[dict[str, float]]]
) -> None:
    run, losses = single
    for one, two in zip(losses, sharded["losses"], strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    expected = runs.trained(run)
    assert expected.keys() == sharded["trained"].keys()
    for name, value in expected.items():
        torch.testing.assert_close(sharded["trained"][name], value, rtol=0, atol=1e-5, msg=name)


def test_a_resumed_run_continues_exactly(sharded: dict[str, Any]) -> None:
    assert sharded["begun at"] == runs.SAVED
    assert sharded["resumed losses"] == sharded["losses"][runs.SAVED :]
    for name, value in sharded["trained"].items():
        assert torch.equal(sharded["resumed"][name], value), name


def test_a_state_of_two_processes_is_resumed_by_one(
    sharded: dict[str, Any], imported: Path, folder: Path
) -> None:
    run = runs.tuner(imported)
    state = newest_state(folder / "run")
    assert state is not None
    load_state(state, run)
    losses = run.step([runs.example(0), runs.example(1)])
    assert losses == pytest.approx(sharded["losses"][runs.SAVED], rel=1e-5)


def test_adapters_and_tokens_with_a_target_are_trained_and_nothing_else(
    sharded: dict[str, Any], imported: Path, folder: Path
) -> None:
    names = sharded["trained"].keys()
    adapted = {name.partition(".lora_")[0] for name in names if ".lora_" in name}
    assert len(adapted) == 10 * 3, "10 linear layers per block"
    assert all(sharded["trained"][name].any() for name in names if ".lora_B" in name)
    before, after = load_file(imported), load_file(folder / "tuned.safetensors")
    changed = {name for name in before if not before[name].float().equal(after[name].float())}
    expected = {name for name in before if name.startswith("transformer.group2.")}
    assert changed == expected | {f"transformer.{layer}.weight" for layer in adapted}
    assert all(before[name].dtype == after[name].dtype for name in before.keys() - changed)


def test_the_exported_checkpoint_computes_what_the_run_does(
    sharded: dict[str, Any], single: tuple[Finetuner, list[dict[str, float]]], folder: Path
) -> None:
    run = single[0]
    exported = load_checkpoint(folder / "tuned.safetensors", dtype=torch.float32)
    assert "rendered people for 4 steps" in exported.card.trained_on
    before = runs.tuner(folder / "tuned.safetensors")  # adapters that do nothing
    example = runs.example(5)
    for task in runs.TASKS:
        latents = exported.encode(example.video)
        with torch.no_grad():
            expected = run.network(latents, run.checkpoint.prompts[task])
            untrained = before.network(latents, exported.prompts[task])
        for new, old, same in zip(
            exported.predict(latents, task), expected, untrained, strict=True
        ):
            torch.testing.assert_close(new, old, rtol=0, atol=1e-4)
            torch.testing.assert_close(new, same)


def test_adapters_of_any_scale_are_merged(imported: Path, tmp_path: Path) -> None:
    run = runs.tuner(imported, config=replace(runs.CONFIG, alpha=10))
    run.step([runs.example(0)])
    export(run, imported, tmp_path / "tuned.safetensors")
    exported = load_checkpoint(tmp_path / "tuned.safetensors", dtype=torch.float32)
    latents = run.checkpoint.encode(runs.example(1).video)
    with torch.no_grad():
        expected = run.network(latents, run.checkpoint.prompts[runs.TASKS[0]])
    for new, old in zip(exported.predict(latents, runs.TASKS[0]), expected, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)


def test_it_computes_in_bfloat16_and_keeps_float32(
    imported: Path, single: tuple[Finetuner, list[dict[str, float]]]
) -> None:
    """As on a GPU; here on the CPU."""
    with process_mesh(runs.CPU) as mesh:
        checkpoint = load_checkpoint(imported, dtype=torch.float32)
        run = Finetuner(checkpoint, runs.CONFIG, mesh, torch.bfloat16)
        losses = run.step([runs.example(0), runs.example(1)])
        assert losses == pytest.approx(single[1][0], rel=0.05)
        assert losses != pytest.approx(single[1][0], rel=1e-6)
        assert {each.dtype for each in runs.trained(run).values()} == {torch.float32}


def test_tables_without_room_for_joints_are_left_alone_and_told(
    imported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = load_checkpoint(imported, dtype=torch.float32)
    checkpoint.transformer.config = replace(checkpoint.transformer.config, token2_output_dim=1)
    run = Finetuner(checkpoint, runs.CONFIG, None)
    assert "no joints are trained" in caplog.text
    assert run.step([runs.example(0)])["joints"] == 0
    assert all(".lora_" in name for name in runs.trained(run))


def test_token_maps_of_other_tables_are_refused(imported: Path) -> None:
    checkpoint = load_checkpoint(imported, dtype=torch.float32)
    each = new_token_map(checkpoint.transformer.config)
    assert each is not None
    numbers: Any = {"residual": 0.1, "baseline": 0.5, "joint_residuals": (0.1,) * 33, "frames": 60}
    known = replace(each, table="tokens1", prompt="depth", **numbers)
    network = {**checkpoint.card.network, CARD_ENTRY: [json.loads(json.dumps(known.to_dict()))]}
    checkpoint.card = replace(checkpoint.card, network=network)
    with pytest.raises(CardError, match=r"map of tokens1 is of 33 rows.*13 values"):
        Finetuner(checkpoint, runs.CONFIG, None)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_ends_the_run_before_the_step(what: str, imported: Path) -> None:
    run = runs.tuner(imported)
    before = runs.trained(run)
    example = runs.example(0)
    if what == "loss":
        example.video[:] = torch.nan
    else:
        run.network.group2.proj_out.bias.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(PerceptionError, match="not finite"):
        run.step([example])
    assert run.step_number == 0
    assert all(torch.equal(value, before[name]) for name, value in runs.trained(run).items())


def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path) -> None:
    check_settings(tmp_path, {"rank": 4, "tasks": ("depth",)})
    check_settings(tmp_path, {"rank": 8, "tasks": ("depth",)})  # nothing to resume yet
    (tmp_path / "step-1").mkdir()
    check_settings(tmp_path, {"rank": 8, "tasks": ("depth",)})
    with pytest.raises(PerceptionError, match="rank was 8, not 4"):
        check_settings(tmp_path, {"rank": 4, "tasks": ("depth",)})


@pytest.mark.fault("file", "a state of fine-tuning that was cut off")
def test_a_damaged_state_is_named(imported: Path, tmp_path: Path) -> None:
    run = runs.tuner(imported)
    state = save_state(tmp_path, run)
    for path in state.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(PerceptionError, match="cannot be resumed"):
        load_state(state, run)


@pytest.mark.fault("disk", "a folder for the state of fine-tuning that cannot be written")
def test_a_state_that_cannot_be_written_is_told(imported: Path, tmp_path: Path) -> None:
    run = runs.tuner(imported)
    (tmp_path / "run").write_text("a file, not a folder")
    with pytest.raises(PerceptionError, match="step 0 cannot be written"):
        save_state(tmp_path / "run", run)
