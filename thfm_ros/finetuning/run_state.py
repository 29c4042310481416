# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The saved state of a run, by torch.distributed.checkpoint; resuming continues exactly.

A run's folder has settings.json and the newest state, a folder step-N. A state is complete once it
has that name. Any number of processes can resume it.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from thfm_ros.contract import PerceptionError
from thfm_ros.finetuning.finetuner import Finetuner
from thfm_ros.training.distributed import rank

_OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)


def newest_state(folder: Path) -> Path | None:
    """The folder of the newest complete state, if there is one."""
    found = {
        int(match[1]): path
        for path in folder.glob("step-*")
        if (match := re.fullmatch(r"step-(\d+)", path.name))
    }
    return found[max(found)] if found else None


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a new run, or compare them with those of the run to be resumed.

    Every process must call this.

    Raises:
        PerceptionError: they differ, or the folder cannot be used.
    """
    path = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if newest_state(folder) is None:
            if rank() == 0:
                path.write_text(json.dumps(settings, indent=1) + "\n")
            return
        before = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise PerceptionError(
            f"--state {folder} cannot be used ({error}). Give another folder, or delete this one."
        ) from error
    changed = [name for name in settings if before.get(name) != settings[name]]
    if changed:
        told = ", ".join(
            f"{each} was {before.get(each)!r}, not {settings[each]!r}" for each in changed
        )
        raise PerceptionError(
            f"The run in {folder} has other settings: {told}. Resume it with those, or give "
            "another --state."
        )


def save_state(folder: Path, run: Finetuner) -> Path:
    """Write the state as step-N and delete older ones. Every process must call this.

    Raises:
        PerceptionError: it cannot be written; the state before is kept.
    """
    final = folder / f"step-{run.step_number}"
    if final.exists():
        return final
    unfinished = folder / f"unfinished-step-{run.step_number}"
    if rank() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)
    _wait()
    try:
        save(_state(run), checkpoint_id=unfinished, no_dist=not distributed.is_initialized())
    except (CheckpointException, OSError, RuntimeError) as error:
        raise PerceptionError(
            f"The state of step {run.step_number} cannot be written into {folder} "
            f"({_reason(error)}). Free some space; the same command resumes from the state before."
        ) from error
    _wait()
    if rank() == 0:
        unfinished.replace(final)
        for path in folder.glob("*step-*"):
            if path != final:
                shutil.rmtree(path)
    _wait()
    return final


def load_state(path: Path, run: Finetuner) -> None:
    """Continue from a state; the settings must be those of its run. Every process must call this.

    Raises:
        PerceptionError: it is damaged, or of another network.
    """
    state = _state(run)
    try:
        load(state, checkpoint_id=path, no_dist=not distributed.is_initialized())
    except (CheckpointException, OSError, RuntimeError, ValueError) as error:
        raise PerceptionError(
            f"The state {path} cannot be resumed ({_reason(error)}). Delete that folder to begin "
            "anew."
        ) from error
    set_state_dict(
        run.network,
        run.optimizer,
        model_state_dict=state["network"],
        optim_state_dict=state["optimizer"],
        options=_OPTIONS,
    )
    run.step_number = int(state["step"])


def _state(run: Finetuner) -> dict[str, Any]:
    network, optimizer = get_state_dict(run.network, run.optimizer, options=_OPTIONS)
    return {"network": network, "optimizer": optimizer, "step": torch.tensor(run.step_number)}


def _reason(error: BaseException) -> str:
    """The cause: PyTorch puts it below the traceback of each process."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _wait() -> None:
    if distributed.is_initialized():
        distributed.barrier()
