# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Writes a fine-tuned network as a checkpoint like those of `thfm import`, adapters merged."""

import dataclasses
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.finetuning.adapters import trained_weight
from thfm_ros.finetuning.finetuner import Finetuner
from thfm_ros.finetuning.sharding import trained_state
from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.token_map import CARD_ENTRY
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import CARD_KEY
from thfm_ros.training.distributed import rank

_PREFIX = "transformer."


def export(run: Finetuner, source: Path, out: Path) -> None:
    """Write ``out`` atomically. Every process must call this; the first one writes.

    Weights that were trained are float32, so that nothing is lost; all others, the VAE and the
    prompts are those of ``source``. The card's token maps and its task "bodies" are dropped, since
    their residuals are those of the old weights.

    Args:
        run: whose network is written.
        source: the checkpoint that it began with.
        out: the file to write.

    Raises:
        GenceptionError: the file cannot be written.
    """
    trained = trained_state(run.network)
    if rank() != 0:
        return
    scale = run.config.alpha / run.config.rank
    tensors: dict[str, Tensor] = {}
    with safe_open(source, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # not a dict
            tensors[name] = file.get_tensor(name)
            if name.startswith(_PREFIX):
                own = name.removeprefix(_PREFIX)
                new = trained_weight(own, tensors[name], trained, scale)
                tensors[name] = tensors[name] if new is None else new
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    metadata = {CARD_KEY: finetuned_card(run).to_json()}
    try:
        save_file(tensors, unfinished, metadata=metadata)
        shutil.copymode(source, unfinished)  # safetensors lets only the owner read
        unfinished.replace(out)
    except (SafetensorError, OSError) as error:
        raise GenceptionError(
            f"{out} cannot be written ({error}). Free some space, or give another --out; all steps "
            "are saved in the --state folder, so the same command only writes the file."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def finetuned_card(run: Finetuner) -> ModelCard:
    """The card of the result: without what `thfm calibrate-tokens` found in the old weights."""
    card = run.checkpoint.card
    network = {name: value for name, value in card.network.items() if name != CARD_ENTRY}
    names = ", ".join(task.value for task in run.config.tasks)
    names += ", joints" if run.token_maps else ""
    told = f"fine-tuned on rendered people for {run.step_number} steps ({names})"
    return dataclasses.replace(
        card,
        tasks=tuple(task for task in card.tasks if task is not Task.BODIES),
        joint_names=(),
        network=network,
        trained_on=f"{card.trained_on}; {told}" if card.trained_on else told,
    )
