# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm finetune`: adapt a full-size checkpoint to rendered people.

In one process, or in several by torchrun, one per GPU:

    torchrun --nproc-per-node 8 -m thfm_ros.commands.main finetune ...
"""

import argparse
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thfm_ros.config_option import check_numbers
from thfm_ros.contract import PerceptionError, Task

if TYPE_CHECKING:
    from thfm_ros.engine.checkpoint import Checkpoint
    from thfm_ros.finetuning.clips import RenderedClips
    from thfm_ros.finetuning.finetuner import Finetuner
    from thfm_ros.finetuning.targets import Example

_log = logging.getLogger(__name__)
_VIDEOS = (Task.DEPTH, Task.NORMALS, Task.SEGMENTATION)
_LIMITS: dict[str, tuple[float, float]] = {
    "steps": (1, 10_000_000),
    "batch": (1, 4096),
    "rank": (1, 1024),
    "alpha": (1, 1_000_000),
    "learning_rate": (1e-9, 1.0),
    "save_every": (1, 10_000_000),
    "seed": (0, 2**63 - 1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm finetune`."""
    parser.add_argument("checkpoint", type=Path, help="file that `thfm import` wrote")
    parser.add_argument(
        "--data", type=Path, required=True,
        help="folder of `thfm synth render`, with clips as long as the checkpoint's window",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write at the end")
    # torchrun takes what begins like an option of its own, such as --run, for that option.
    parser.add_argument(
        "--state", type=Path, required=True, help="folder of the run's state; resumed if it has one"
    )
    parser.add_argument(
        "--steps", type=int, default=1000, help="steps of the whole run (%(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=1, help="clips per step of all processes (%(default)s)"
    )
    parser.add_argument("--rank", type=int, default=16, help="of the adapters (%(default)s)")
    parser.add_argument(
        "--alpha", type=int, default=16,
        help="the adapters' product is multiplied by alpha / rank (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of AdamW (%(default)s)")
    parser.add_argument(
        "--tasks", nargs="+", choices=[task.value for task in _VIDEOS],
        help="whose videos are trained (default: all that the checkpoint has a prompt for)",
    )  # fmt: skip
    parser.add_argument(
        "--save-every", type=int, default=100, help="steps between saved states (%(default)s)"
    )
    parser.add_argument(
        "--device", default="cpu",
        help="cpu, or cuda: one GPU per process, which computes in bfloat16 (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="of the adapters and the order of clips (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Train, save, and write the checkpoint once all steps are done.

    Raises:
        PerceptionError: a value that cannot be used, or losses that are not finite.
    """
    check_numbers(vars(args), _LIMITS)
    from thfm_ros.engine.checkpoint import find_checkpoint
    from thfm_ros.finetuning.adapters import require_peft
    from thfm_ros.finetuning.clips import RenderedClips
    from thfm_ros.finetuning.sharding import process_mesh
    from thfm_ros.training.distributed import device_of_process

    require_peft()
    checkpoint = find_checkpoint(str(args.checkpoint))
    tasks = _tasks(checkpoint, args.tasks)
    if not args.out.absolute().parent.is_dir():
        raise PerceptionError(f"--out {args.out}: there is no folder {args.out.parent}. Make it.")
    card = checkpoint.card
    clips = RenderedClips(args.data, card.window, card.frame_size[1], args.seed)
    device = device_of_process(args.device)
    with process_mesh(device) as mesh:
        if args.batch % mesh.size():
            raise PerceptionError(
                f"--batch {args.batch} cannot be divided among {mesh.size()} processes: use a "
                f"multiple of {mesh.size()}."
            )
        if mesh.get_rank():
            logging.getLogger("thfm_ros").setLevel(logging.WARNING)  # the first one tells
        tuner = _tuner(args, checkpoint, tasks, clips, mesh, device)
        return _train(args, checkpoint, tuner, clips, mesh)


def _tasks(checkpoint: "Checkpoint", names: list[str] | None) -> tuple[Task, ...]:
    card = checkpoint.card
    if card.family != "genception":
        raise PerceptionError(
            f"{checkpoint.path} is a checkpoint of the {card.family} family: use `thfm train`."
        )
    available = tuple(task for task in _VIDEOS if task in card.tasks)
    wanted = tuple(task for task in _VIDEOS if names is None or task.value in names)
    missing = [task.value for task in wanted if task not in available] if names else []
    if missing or not available:
        raise PerceptionError(
            f"{card.name} has no prompt for {', '.join(missing) or 'any video'}; it has: "
            f"{', '.join(available) or 'none'}. Import it again with its prompts."
        )
    return tuple(task for task in wanted if task in available)


def _tuner(
    args: argparse.Namespace,
    checkpoint: "Checkpoint",
    tasks: tuple[Task, ...],
    clips: "RenderedClips",
    mesh: Any,
    device: Any,
) -> "Finetuner":
    """The run, new or resumed."""
    import torch

    from thfm_ros.finetuning.finetuner import FinetuneConfig, Finetuner
    from thfm_ros.finetuning.run_state import check_settings, load_state, newest_state
    from thfm_ros.genception.checkpoint import load_checkpoint

    config = FinetuneConfig(
        tasks, rank=args.rank, alpha=args.alpha, learning_rate=args.learning_rate,
        batch=args.batch, seed=args.seed,
    )  # fmt: skip
    sums = {"checkpoint_sha256": checkpoint.sha256(), "data_sha256": clips.checksum}
    check_settings(args.state, {**dataclasses.asdict(config), **sums})
    loaded = load_checkpoint(checkpoint.path, dtype=torch.float32, device=device)
    precision = torch.bfloat16 if device.type == "cuda" else torch.float32
    tuner = Finetuner(loaded, config, mesh, precision)
    if (state := newest_state(args.state)) is not None:
        load_state(state, tuner)
        _log.info("resumed after step %d", tuner.step_number)
    if tuner.step_number > args.steps:
        raise PerceptionError(
            f"The run in {args.state} has done {tuner.step_number} steps already. Give --steps "
            f"{tuner.step_number} or more, or another --state."
        )
    return tuner


def _train(
    args: argparse.Namespace,
    checkpoint: "Checkpoint",
    tuner: "Finetuner",
    clips: "RenderedClips",
    mesh: Any,
) -> int:
    from thfm_ros.finetuning.export import export

    if Task.SEGMENTATION in tuner.config.tasks:
        prompt = checkpoint.card.prompts[Task.SEGMENTATION]
        _log.info("the expression %r is trained to mean every rendered person", prompt)
    if not _steps(args, tuner, clips, mesh):
        _log.info("stopped after step %d; the same command resumes", tuner.step_number)
        return 130
    export(tuner, checkpoint.path, args.out)
    _log.info("wrote %s; `thfm calibrate-tokens` reads its joints", args.out)
    return 0


def _steps(args: argparse.Namespace, tuner: "Finetuner", clips: "RenderedClips", mesh: Any) -> bool:
    """All steps that are left; whether they were done, rather than stopped by a signal."""
    from thfm_ros.finetuning.run_state import save_state
    from thfm_ros.training.distributed import broadcast_decision, stop_at_a_signal

    own = range(mesh.get_local_rank(), args.batch, mesh.size())
    examples = _examples(clips, tuner, own)
    stopped = False
    with stop_at_a_signal() as requested:
        while tuner.step_number < args.steps and not stopped:
            losses = tuner.step([next(examples) for _ in own])
            told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            _log.info("step %d: %s", tuner.step_number, told)
            stopped = broadcast_decision(requested(), tuner.checkpoint.device)
            if stopped or tuner.step_number % args.save_every == 0:
                save_state(args.state, tuner)
    save_state(args.state, tuner)
    return bool(tuner.step_number >= args.steps)


def _examples(clips: "RenderedClips", tuner: "Finetuner", own: range) -> Iterator["Example"]:
    """This process' clips from the current step on."""
    from thfm_ros.finetuning.targets import example_of
    from thfm_ros.genception.subgraphs import Profile

    card, tasks = tuner.checkpoint.card, tuner.config.tasks
    profile = Profile(card.window, *card.frame_size)
    scale = float(card.network["depth_scale"])
    step = tuner.step_number
    while True:
        for number in own:
            clip = clips.clip(step * tuner.config.batch + number)
            yield example_of(clip, profile, tasks, scale, tuner.checkpoint.device)
        step += 1
