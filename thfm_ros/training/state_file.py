# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The state of a training run on disk, from which it is resumed."""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from thfm_ros.contract import PerceptionError

_CHECKSUM_BYTES = hashlib.sha256().digest_size


class StateError(PerceptionError):
    """The state of a run is damaged, or of another version."""


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, atomically, with a checksum of all at the end."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    part.write_bytes(data + hashlib.sha256(data).digest())
    part.replace(path)


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `write_state` wrote; no other Python objects are loaded.

    Raises:
        StateError: the file is damaged; also if single bytes differ, which torch.load would not
            notice.
    """
    try:
        stored = path.read_bytes()
        data, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
        if hashlib.sha256(data).digest() == checksum:
            state: dict[str, Any] = torch.load(
                io.BytesIO(data), weights_only=True, map_location=device
            )
            return state
        reason = "its checksum is another one"
    except (
        *(OSError, RuntimeError, ValueError, EOFError, KeyError, NotImplementedError),
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
    raise StateError(f"{path} is damaged ({' '.join(reason.split())}). {advice(path)}")


def advice(path: Path) -> str:
    """How to go on without this state."""
    return (
        f"Delete it to begin anew, with --begin-from {path.with_name('nano.safetensors')} from "
        "the weights of the run (in a copy: the run writes that file)."
    )
