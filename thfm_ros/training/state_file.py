# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The state of a training run on disk, from which it is resumed."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from thfm_ros.contract import PerceptionError


class StateError(PerceptionError):
    """The state of a run is damaged, or of another version."""


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, atomically."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    torch.save(state, part)
    part.replace(path)


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `write_state` wrote; no other Python objects are loaded.

    Raises:
        StateError: the file is damaged; also if single bytes differ, which torch.load would not
            notice.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
            return state
        reason = f"checksum of {damaged}"
    except (
        *(OSError, RuntimeError, ValueError, EOFError, KeyError, NotImplementedError),
        *(zipfile.BadZipFile, pickle.UnpicklingError),
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
    raise StateError(f"{path} is damaged ({' '.join(reason.split())}). {advice(path)}")


def advice(path: Path) -> str:
    """How to go on without this state."""
    return (
        f"Delete it to begin anew, with --begin-from {path.with_name('nano.safetensors')} from "
        "the weights of the run (in a copy: the run writes that file)."
    )
