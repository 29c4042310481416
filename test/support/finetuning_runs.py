# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fine-tuning of a tiny checkpoint on made-up clips, in this process or in two."""

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from thfm_ros.commands import main as cli
from thfm_ros.contract import Task
from thfm_ros.finetuning.export import export
from thfm_ros.finetuning.finetuner import FinetuneConfig, Finetuner
from thfm_ros.finetuning.run_state import load_state, save_state
from thfm_ros.finetuning.targets import Example, example_of
from thfm_ros.genception.checkpoint import load_checkpoint
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.synth.dataset import write_shard

PROFILE = Profile(5, 48, 32)
TASKS = (Task.DEPTH, Task.NORMALS, Task.SEGMENTATION)
CONFIG = FinetuneConfig(TASKS, rank=4, alpha=4, learning_rate=3e-3, batch=2)
STEPS, SAVED = 4, 2
LIBRARIES = [
    "thfm_ros.commands.finetune",
    "thfm_ros.finetuning.clips",
    "thfm_ros.finetuning.export",
    "thfm_ros.finetuning.run_state",
    "peft.tuners.lora",
    "diffusers.models.transformers.transformer_wan",
    "diffusers.models.autoencoders.autoencoder_kl_wan",
]
CPU = torch.device("cpu")


def made_up_clip(number: int, size: int = 32, frames: int = PROFILE.frames) -> dict[str, Any]:
    """A clip with the arrays of a rendered one: a person before a wall, and sky above it."""
    rng = np.random.default_rng(number)
    depth = np.full((frames, size, size), 6.0, np.float16)
    depth[:, :8] = 0  # sky
    instances = np.zeros((frames, size, size), np.uint8)
    instances[:, 12:28, 8:24] = 1
    depth[instances > 0] = 3.0
    normals = np.zeros((frames, size, size, 3), np.int8)
    normals[depth > 0] = (0, 0, -127)
    joints = rng.normal((0, 0, 3), 0.4, (frames, 4, 35, 3)).astype(np.float32)
    joints[:, 1:] = np.nan
    return {
        "rgb": rng.integers(0, 255, (frames, size, size, 3), np.uint8),
        "depth_m": depth,
        "normals": normals,
        "instances": instances,
        "keypoints3d": joints,
        "keypoints2d": joints[..., :2] * size,
        "people": np.ones(frames, np.uint8),
    }


def write_data(folder: Path, shards: tuple[int, ...] = (3, 2), frames: int = 5) -> Path:
    """A folder of shards with so many made-up clips each."""
    folder.mkdir(parents=True)
    number = 0
    for shard, count in enumerate(shards):
        clips = [made_up_clip(number + each, frames=frames) for each in range(count)]
        number += count
        arrays = {name: np.concatenate([clip[name] for clip in clips]) for name in clips[0]}
        about = {"frames": [frames], "frames_total": frames * count}
        write_shard(folder / f"crop-train-1-{shard:05d}.npz", arrays, about, store="lossless")
    return folder


def example(number: int) -> Example:
    """A made-up clip as the network takes it."""
    return example_of(made_up_clip(number), PROFILE, TASKS, 0.4, CPU)


def tuner(path: Path, mesh: Any = None, config: FinetuneConfig = CONFIG) -> Finetuner:
    """A run that has not begun."""
    return Finetuner(load_checkpoint(path, dtype=torch.float32), config, mesh)


def trained(run: Finetuner) -> dict[str, Tensor]:
    """What the run trains, whole, in every process."""
    return {
        name: each.full_tensor() if isinstance(each, DTensor) else each.detach().clone()
        for name, each in run.network.named_parameters()
        if each.requires_grad
    }


def words(checkpoint: Path, run: Path, data: Path, *more: str) -> list[str]:
    """The command line of a run, whose result is RUN.safetensors."""
    out = run.with_suffix(".safetensors")
    told = ["finetune", checkpoint, "--out", out, "--state", run, "--data", data, "--rank", "2"]
    return [*(str(each) for each in told), *more]


def in_two_processes(path: Path, folder: Path) -> dict[str, Any]:
    """What two processes found out about a run of `STEPS` steps; see `_work`."""
    write_data(folder / "data")
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        port = unused.getsockname()[1]
    # Both are forked from a process that has imported the libraries once, but runs no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    workers = [context.Process(target=_work, args=(rank, path, folder, port)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()  # what hangs ends with the test's timeout
    assert [worker.exitcode for worker in workers] == [0, 0]
    found: dict[str, Any] = torch.load(folder / "found.pt", weights_only=False)
    return found


def _work(rank: int, path: Path, folder: Path, port: int) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2
    )
    mesh = init_device_mesh("cpu", (2,))
    run = tuner(path, mesh)
    parameters = list(run.network.parameters())
    own = sum(p.to_local().numel() for p in parameters if isinstance(p, DTensor))
    shares: list[Any] = [None, None]
    distributed.all_gather_object(shares, own / sum(p.numel() for p in parameters))
    losses = []
    for _ in range(STEPS):
        losses.append(run.step([example(rank)]))
        if run.step_number == SAVED:
            state = save_state(folder / "run", run)
    resumed = tuner(path, mesh)
    load_state(state, resumed)
    found = {
        "all are DTensors": all(isinstance(p, DTensor) for p in parameters),
        "share": shares,
        "losses": losses,
        "begun at": resumed.step_number,
        "resumed losses": [resumed.step([example(rank)]) for _ in range(STEPS - SAVED)],
        "trained": trained(run),
        "resumed": trained(resumed),
    }
    export(run, path, folder / "tuned.safetensors")
    distributed.barrier()
    distributed.destroy_process_group()
    found["exit codes"] = _commands(rank, path, folder, port)
    if rank == 0:
        torch.save(found, folder / "found.pt")


def _commands(rank: int, path: Path, folder: Path, port: int) -> list[int]:
    """Exit codes of two commands as torchrun starts them; the first cannot be done."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", TORCHELASTIC_RUN_ID="test",
        MASTER_ADDR="localhost", MASTER_PORT=str(port),
    )  # fmt: skip
    told = words(path, folder / "command", folder / "data", "--steps", "1", "--batch")
    return [cli.main([*told, batch]) for batch in ("3", "2")]
