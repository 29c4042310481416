# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Refuse network outputs that are no numbers.

A GPU that fails, or half precision that overflows, gives NaN without an error. Decoded, they look
like an image without people.
"""

import math

import numpy as np
from jaxtyping import Float32

from thfm_ros.engine.base import EngineError
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, DetectionOutputs


def require_finite(*outputs: BodyOutputs | DenseOutputs | DetectionOutputs | None) -> None:
    """Check outputs of one step; None is skipped.

    Raises:
        EngineError: a value is NaN or infinite.
    """
    for some in outputs:
        for name, values in some._asdict().items() if some is not None else ():
            if not _are_finite(values):
                raise EngineError(
                    f"the network's output {name!r} is not finite: its processor fails or its "
                    "precision overflows. `thfm engine verify` compares it with PyTorch; the "
                    "parameter engine.kind chooses another runtime."
                )


def _are_finite(values: Float32[np.ndarray, "*n"] | float) -> bool:
    if isinstance(values, float):
        return math.isfinite(values)
    # A sum is finite only if all its terms are; the second test is for a sum that overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(values.sum())
    return math.isfinite(total) or bool(np.isfinite(values).all())
