# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The interface of all engines."""

from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import RawOutputs


class EngineError(PerceptionError):
    """An engine could not be loaded, built or run."""


class VerificationError(EngineError):
    """The outputs of a built engine differ from those of PyTorch."""


class Engine(Protocol):
    """One network, ready to run.

    Attributes:
        card: of the checkpoint.
        description: of the runtime and its device, for logs and diagnostics: "PyTorch 2.13.0,
            CPU, 1 thread", with the fallback reason if there is one.
        fallback_reason: why PyTorch replaces the requested runtime; None if it does not.
        concurrent: whether two threads may call `step` at the same time, for two streams.
    """

    card: ModelCard
    description: str
    fallback_reason: str | None
    concurrent: bool

    def step(
        self, image: UInt8[np.ndarray, "h w 3"], state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        """Process the next image of a stream.

        Args:
            image: RGB, of exactly the card's crop or frame size; any strides.
            state: returned by the previous step of this stream; None begins a new stream. It is
                never modified: a stream may be continued twice from the same state.
            dense: False leaves out the dense outputs and their cost; the state does not depend
                on it.

        Returns:
            The network outputs for this image, and the state for the next one.

        Raises:
            EngineError: the image has a wrong size or type, or the state is of another stream.
        """


def check_image(image: UInt8[np.ndarray, "h w 3"], card: ModelCard) -> tuple[int, int]:
    """Return (width, height) of an image.

    Raises:
        EngineError: the type or size is not one that the card accepts.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise EngineError(
            f"An engine takes one RGB image as uint8 [height, width, 3]; "
            f"got {image.dtype} {list(image.shape)}."
        )
    size = (image.shape[1], image.shape[0])
    if size not in (card.crop_size, card.frame_size):
        raise EngineError(
            f"{card.name} takes images of {card.crop_size} or {card.frame_size} "
            f"(width, height); got {size}. Crop it with thfm_ros.perception.crop_region first."
        )
    return size
