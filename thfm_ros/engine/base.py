"""What every engine looks like from outside. Nothing here knows which one it is."""

from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import RawOutputs


class EngineError(PerceptionError):
    """An engine could not be loaded, built or fed."""


class Engine(Protocol):
    """One network, ready to run.

    ``description`` is for people and diagnostics: which runtime, where, and why it is not the one
    that was asked for, if so ("PyTorch 2.13.0 CPU, 1 thread (instead of onnx: ...)").
    ``concurrent``: two threads may call `step` at once, for two streams.
    """

    card: ModelCard
    description: str
    concurrent: bool

    def step(
        self, image: UInt8[np.ndarray, "h w 3"], state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        """See one more image of a stream.

        Args:
            image: RGB, of exactly the card's crop or frame size; any strides.
            state: what the previous step of this stream returned; None begins a new stream.
                It is never written into: a stream may be continued twice from the same state.
            dense: False leaves out the maps and their cost; the state is the same either way.

        Returns:
            What the network says about this image, and the state for the next one.

        Raises:
            EngineError: the image has a size, a type or a state that this engine cannot take.
        """


def check_image(image: UInt8[np.ndarray, "h w 3"], card: ModelCard) -> tuple[int, int]:
    """Return (width, height) of an image that the card accepts; EngineError otherwise."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise EngineError(
            f"An engine takes one RGB image as uint8 [height, width, 3]; "
            f"got {image.dtype} {list(image.shape)}."
        )
    size = (image.shape[1], image.shape[0])
    if size not in (card.crop_size, card.frame_size):
        raise EngineError(
            f"{card.name} takes images of {card.crop_size} or {card.frame_size} "
            f"(width, height); got {size}. Cut it out with thfm_ros.perception.crop_region first."
        )
    return size
