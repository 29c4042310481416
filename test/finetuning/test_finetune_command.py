# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm finetune`: run, resume, the result in the pipeline, and what is refused."""

import argparse
import os
import re
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.distributed import run as torchrun

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
pytest.importorskip("peft", reason="fine-tuning needs thfm_ros[finetune]")

import finetuning_runs as runs

from thfm_ros.commands import finetune, synth
from thfm_ros.commands import main as cli
from thfm_ros.config import Config, EngineConfig
from thfm_ros.contract import Clip, Frame, Task
from thfm_ros.finetuning.finetuner import Finetuner
from thfm_ros.genception.card_writer import write_with_card
from thfm_ros.loading import load_pipeline
from thfm_ros.model.weights import read_card


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_data(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture(scope="module")
def tuned(imported: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two steps; the file beside it has the result."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    assert cli.main(runs.words(imported, run, data, "--steps", "2")) == 0
    return run


def test_the_result_is_a_checkpoint_for_the_pipeline(imported: Path, tuned: Path) -> None:
    path = tuned.with_suffix(".safetensors")
    assert load_file(path).keys() == load_file(imported).keys()
    assert path.stat().st_mode == imported.stat().st_mode
    card = read_card(path)
    assert card.tasks == read_card(imported).tasks
    assert "2 steps (depth, normals, segmentation, joints)" in card.trained_on
    frame = Frame(np.full((32, 48, 3), 90, np.uint8), 1, "camera")
    pipeline = load_pipeline(Config(engine=EngineConfig(checkpoint=str(path))))
    perception = pipeline.step(Clip((frame,), 1), frozenset({Task.DEPTH}))
    assert perception.depth_relative is not None and perception.depth_relative.shape == (32, 48)


def test_a_run_that_is_interrupted_and_resumed_gives_the_file_of_one_that_is_not(
    imported: Path, data: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = runs.words(imported, tmp_path / "run", data, "--steps", "2")
    step = Finetuner.step

    def interrupted(*args: Any) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Finetuner, "step", interrupted)
        assert cli.main(words) == 130
    assert not (tmp_path / "run.safetensors").exists()
    assert [each.name for each in (tmp_path / "run").glob("*step-*")] == ["step-1"]
    assert cli.main(words) == 0
    assert [each.name for each in (tmp_path / "run").glob("*step-*")] == ["step-2"]
    one, two = load_file(tuned.with_suffix(".safetensors")), load_file(tmp_path / "run.safetensors")
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)


def test_a_run_of_another_configuration_is_refused_by_what_differs(
    imported: Path, data: Path, tuned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_data = runs.write_data(tmp_path / "other", shards=(1,))
    other_file = tmp_path / "other.safetensors"
    write_with_card(imported, other_file, replace(read_card(imported), trained_on="another"))
    for words, told in (
        (runs.words(imported, tuned, data, "--tasks", "depth"), "tasks was ['depth', 'normals'"),
        (runs.words(imported, tuned, data, "--alpha", "2"), "alpha was 16, not 2"),
        (runs.words(imported, tuned, other_data), "data_sha256 was"),
        (runs.words(other_file, tuned, data), "checkpoint_sha256 was"),
        (runs.words(imported, tuned, data, "--steps", "1"), "done 2 steps already. Give --steps 2"),
    ):
        caplog.clear()
        assert cli.main(words) == 2
        assert told in caplog.text
        assert len(caplog.messages[-1].splitlines()) == 1


def test_another_vae_is_refused(
    imported: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = read_card(imported)
    network = {**card.network, "vae": {**card.network["vae"], "z_dim": 8}}
    other = tmp_path / "other.safetensors"
    write_with_card(imported, other, replace(card, network=network))
    assert cli.main(runs.words(other, tmp_path / "run", data)) == 2
    assert "another VAE: it makes latents of 8 channels" in caplog.text
    write_with_card(imported, other, replace(card, network={**card.network, "vae": None}))
    assert cli.main(runs.words(other, tmp_path / "run", data)) == 2
    assert "without the VAE" in caplog.text


def test_peft_that_is_missing_is_told_before_anything_is_loaded(
    imported: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert cli.main(runs.words(imported, tmp_path / "run", data)) == 2
    assert "pip install '.[finetune]'" in caplog.text
    assert not (tmp_path / "run").exists()


def test_every_command_on_the_page_parses(root: Path) -> None:
    page = (root / "docs" / "fine_tuning.md").read_text("utf-8")
    (block,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()[1:]]
    started = torchrun.get_args_parser().parse_args(lines[2][1:])
    assert started.training_script == "thfm_ros.commands.main"
    told = [lines[0][1:], lines[1][1:], started.training_script_args]
    assert [words[0] for words in told] == ["synth", "finetune", "finetune"]
    for module, words in zip((synth, finetune, finetune), told, strict=True):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        parser.parse_args(words[1:])


def test_torchrun_passes_every_option_on() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    finetune.add_arguments(parser)
    options = [option for action in parser._actions for option in action.option_strings]
    started = torchrun.get_args_parser().parse_args(["-m", "module", "finetune", *options])
    assert started.training_script_args == ["finetune", *options]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nano"], "of the nano family"),
        (["{path}", "--rank", "0"], "rank"),
        (["{path}", "--learning-rate", "nan"], "learning_rate"),
        (["{path}", "--device", "cuda:77"], "cannot use the device"),
        (["{path}", "--out", "no folder/a.safetensors"], "there is no folder"),
        (["{path}", "--data", "nowhere"], "has no shards"),
        (["{path}", "--state", "{path}"], "cannot be used"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(
    words: list[str],
    text: str,
    imported: Path,
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = [word.format(path=imported) for word in words]
    others = [
        "--out",
        str(tmp_path / "a.safetensors"),
        "--state",
        str(tmp_path),
        "--data",
        str(data),
    ]
    assert cli.main(["finetune", *others, *words]) == 2
    assert text.replace("_", "-") in caplog.text.replace("_", "-")
