# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""runs/gpu5.sh, a short run of training on a GPU, and the data that it is sent."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from painted_store import write_data

from thfm_ros.training.recipe import read_recipe


@pytest.fixture
def subset(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("subset", root / "scripts/training_subset.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(root / "runs/gpu5.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_recipe_can_be_read(root: Path) -> None:
    recipe = read_recipe(root / "runs" / "gpu5.json")
    assert recipe.steps < 5000 and recipe.learning_rate_at(recipe.steps - 1) < 2e-5


def test_without_a_gpu_it_is_one_line_and_exit_code_3(root: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "data", clips=1)
    torch = tmp_path / "torch"
    torch.mkdir()  # a PyTorch that finds no GPU, on every machine
    (torch / "__init__.py").write_text("class cuda:\n    is_available = lambda: False\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    out = tmp_path / "out"
    done = run(root, str(tmp_path / "data"), str(out), "--python", str(python))
    assert done.returncode == 3 and not out.exists()
    assert len(done.stderr.splitlines()) == 1 and "no GPU" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "usage"),
        (["a", "b", "--fast"], "--fast is no option"),
        (["none", "out"], "training_subset.py"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    root: Path, arguments: list[str], text: str
) -> None:
    done = run(root, *arguments)
    assert done.returncode == 2 and text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_subset_has_every_folder_and_at_most_so_many_bytes(
    tmp_path: Path, subset: ModuleType
) -> None:
    data = write_data(tmp_path / "data", clips=1)
    (data / "frames").mkdir()
    for number in range(6):
        shard = (data / "train/shard_0.npz").read_bytes()
        (data / "train" / f"shard_{number}.npz").write_bytes(shard)
        (data / "frames" / f"shard_{number}.npz").write_bytes(shard)
    np.save(data / "backgrounds.npy", np.zeros((300, 96, 128, 3), np.uint8))
    all_bytes = sum(path.stat().st_size for path in data.rglob("*.np[yz]"))
    megabytes = all_bytes / 2 / 1e6
    size = subset.copy_subset(data, tmp_path / "subset", megabytes)
    copied = list((tmp_path / "subset").rglob("*.np[yz]"))
    assert size == sum(path.stat().st_size for path in copied) <= megabytes * 1e6
    assert {path.parent.name for path in copied} == {"train", "val", "frames", "subset"}
    images = len(np.load(tmp_path / "subset" / "backgrounds.npy"))
    assert 1 <= images < 300


def test_too_few_megabytes_or_no_data_are_an_error(tmp_path: Path, subset: ModuleType) -> None:
    data = write_data(tmp_path / "data", clips=1)
    with pytest.raises(ValueError, match="too few"):
        subset.copy_subset(data, tmp_path / "subset", 0.01)
    with pytest.raises(FileNotFoundError, match="no shard"):
        subset.copy_subset(tmp_path / "nothing", tmp_path / "other", 50)
