# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Prompt embedding files, which the full-size network takes in place of sentences."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from thfm_ros.contract import PerceptionError

PROMPT_LENGTH = 226
"""Rows of the published embeddings. Rows after the sentence are zeros, and are attended to."""


class PromptError(PerceptionError):
    """Prompt embeddings cannot be read or computed."""


def read_embeddings(path: Path, width: int) -> Float32[np.ndarray, "l d"]:
    """Read embeddings from an `.npy` file.

    Args:
        path: [rows, width] or [1, rows, width]; a float type, or bfloat16 as 2-byte void.
        width: expected number of columns.

    Raises:
        PromptError: the file is damaged or has another shape or type, or values are not finite.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PromptError(
            f"{path} cannot be read ({error}). Download it again, or make it: thfm prompt"
        ) from error
    if rows.ndim == 3 and rows.shape[0] == 1:
        rows = rows[0]
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] != width:
        raise PromptError(
            f"{path} is {list(rows.shape)}; expected [rows, {width}] or [1, rows, {width}], as "
            "the text encoder of this network outputs. `thfm prompt` makes such a file."
        )
    if rows.dtype.kind == "V" and rows.dtype.itemsize == 2:  # how numpy stores bfloat16
        rows = (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if rows.dtype not in (np.float16, np.float32, np.float64):
        raise PromptError(f"{path} contains {rows.dtype}; expected floating-point numbers.")
    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        raise PromptError(f"{path} contains NaN or infinite numbers. Make it again: thfm prompt")
    return rows
