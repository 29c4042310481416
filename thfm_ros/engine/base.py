# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The interface of all engines."""

from enum import Enum
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs


class EngineError(PerceptionError):
    """An engine could not be loaded, built or run."""


class VerificationError(EngineError):
    """The outputs of a built engine differ from those of PyTorch."""


class NewStream(Enum):
    """The states of `Engine.step` before a stream's first step, beside None."""

    KNOWN_PERSON = "known person"


KNOWN_PERSON: Final = NewStream.KNOWN_PERSON
"""Begins a new stream, as None does, of a person who is tracked and confirmed already: no decision
rests on its first step, so that engines may run it as all later ones, in int8."""


def begins_stream(state: object | None) -> bool:
    """Whether a step with this state is the first one of its stream."""
    return state is None or state is KNOWN_PERSON


class Engine(Protocol):
    """One network, ready to run.

    Attributes:
        card: of the checkpoint.
        description: of the runtime and its device, for logs and diagnostics: "PyTorch 2.13.0,
            CPU, 1 thread", with the fallback reason if there is one.
        fallback_reason: why another runtime or precision replaces the requested one; None if none
            does.
        concurrent: whether two threads may call `step` and `detect` at the same time.
    """

    card: ModelCard
    description: str
    fallback_reason: str | None
    concurrent: bool

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> DetectionOutputs:
        """Find all people of a whole image, or of a tile of one.

        Args:
            image: RGB, of exactly the card's frame size; any strides.

        Raises:
            EngineError: the image has a wrong size or type.
        """

    def step(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        state: object | None,
        *,
        dense: bool,
        target_box: Float32[np.ndarray, "4"] | None = None,
    ) -> tuple[RawOutputs, object]:
        """Process the next crop of a stream.

        Args:
            image: RGB, of exactly one of the card's crop sizes, the same in all steps of a stream;
                any strides.
            state: returned by the previous step of this stream; None and KNOWN_PERSON begin a new
                stream. It is never modified: a stream may be continued twice from the same state.
            dense: False leaves out the dense outputs and their cost; the state does not depend
                on it.
            target_box: where the target person should be: x_min, y_min, x_max, y_max as shares
                of the crop's width and height. None: the person in the middle.

        Returns:
            The network outputs for this image, and the state for the next one.

        Raises:
            EngineError: the image has a wrong size or type, or the state is of another stream.
        """


def check_image(image: UInt8[np.ndarray, "h w 3"], *sizes: tuple[int, int]) -> None:
    """Raise EngineError for an image that is not RGB of one of ``sizes`` (width, height)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise EngineError(
            f"An engine takes one RGB image as uint8 [height, width, 3]; "
            f"got {image.dtype} {list(image.shape)}."
        )
    if (image.shape[1], image.shape[0]) not in sizes:
        raise EngineError(
            f"This pass takes images of {' or '.join(map(str, sizes))} (width, height); got "
            f"{(image.shape[1], image.shape[0])}. Crop it with thfm_ros.perception.crop_region."
        )
