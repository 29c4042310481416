# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Running the network on the crops of one person, frame after frame."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, PixelMap
from thfm_ros.engine.base import KNOWN_PERSON, Engine, begins_stream
from thfm_ros.engine.finite_outputs import require_finite
from thfm_ros.geometry import to_network
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.confirmation import evidence_for, person_probability
from thfm_ros.perception.crop_region import (
    crop_image,
    follow_box,
    region_around,
    source_rectangle,
)
from thfm_ros.perception.decoding import Detection, ExpectedPerson, Proposal, decode_person
from thfm_ros.perception.stage_timer import StageTimer

_MAX_CORRECTIONS = 2
"""Further crops of a proposal, each better placed than the one before."""
_NEARLY_THERE = 0.03
"""Of a crop's side: less than two cells of the dense maps, within which boxes are not known."""
_NO_PERSON = 0.2
"""Probability of a person below which a proposal is not worth a last crop."""


@dataclass(slots=True)
class CropStream:
    """The crops of one region, with the engine's state after the last of them.

    Before the first one ``state`` is None, or KNOWN_PERSON for a person who is confirmed already.
    """

    region: PixelMap
    state: object | None = None


class CropDetection(NamedTuple):
    """A detection, and the crop stream that shows it."""

    detection: Detection
    stream: CropStream


class CropInputs(NamedTuple):
    """What all crops of one step have in common."""

    clip: Clip
    dense: bool  # whether dense outputs are needed
    timer: StageTimer  # of the stages "crop", "network" and "decode"


class CropDetector:
    """Detects single persons in crops. Crops of different streams may run in different threads,
    if the engine can."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._regions, self._decode = config.regions, config.decode

    def detect(
        self, inputs: CropInputs, stream: CropStream, expected: ExpectedPerson
    ) -> Detection | None:
        """Detect the expected person in the newest frame, and advance the stream."""
        frame = inputs.clip.newest
        if self._regions.rewarm and begins_stream(stream.state):
            for earlier in inputs.clip.frames[-self._engine.card.window : -1]:
                self._run(earlier, stream, inputs.timer, dense=False)
        target = _in_crop(expected.box, stream.region)
        raw = self._run(frame, stream, inputs.timer, dense=inputs.dense, target_box=target)
        height, width = frame.rgb.shape[:2]
        with inputs.timer("decode"):
            return decode_person(
                raw, stream.region, (width, height), frame.intrinsics, expected, self._decode
            )

    def detect_proposal(self, inputs: CropInputs, proposal: Proposal) -> CropDetection | None:
        """Detect the person of a proposal.

        Its box is rough: the crop is moved until it fits, then placed exactly around what it shows.
        What that last crop shows counts, unless the ones before showed no person.
        """
        region = region_around(proposal.box, self._engine.card.crop_size, self._regions)
        stream = CropStream(region)
        detection = self.detect(inputs, stream, ExpectedPerson(proposal.box))
        for _ in range(_MAX_CORRECTIONS):
            if detection is None:
                break
            moved = self.following(stream, detection.extent)
            if moved is stream:
                break
            stream = moved
            detection = self.detect(inputs, stream, ExpectedPerson(detection.body.box))
        if detection is None:
            return None
        found = CropDetection(detection, stream)
        if person_probability(evidence_for(proposal, detection)) < _NO_PERSON:
            return found
        return self._placed_exactly(inputs, found)

    def _placed_exactly(self, inputs: CropInputs, found: CropDetection) -> CropDetection | None:
        """What a crop around the extent of ``found`` shows; ``found`` if its crop is close."""
        size = self._engine.card.crop_size
        region = region_around(found.detection.extent, size, self._regions)
        if _moved_by(found.stream.region, region) <= _NEARLY_THERE:
            return found
        stream = CropStream(region)
        detection = self.detect(inputs, stream, ExpectedPerson(found.detection.body.box))
        return None if detection is None else CropDetection(detection, stream)

    def following(
        self, stream: CropStream, box: Float[np.ndarray, "4"], *, known: bool = False
    ) -> CropStream:
        """``stream`` if its crop shows ``box`` well, else a new stream with a crop that does.

        ``known``: the person is confirmed already. Only then may the crop be tall: whether there is
        a person is decided in square ones.
        """
        sizes = self._engine.card.crop_sizes if known else ()
        region = follow_box(stream.region, box, self._regions, sizes)
        if region is stream.region:
            return stream
        return CropStream(region, KNOWN_PERSON if known else None)

    def _run(
        self,
        frame: Frame,
        stream: CropStream,
        timer: StageTimer,
        *,
        dense: bool,
        target_box: Float32[np.ndarray, "4"] | None = None,
    ) -> RawOutputs:
        with timer("crop"):
            image = crop_image(frame, stream.region)
        with timer("network"):
            raw, stream.state = self._engine.step(
                image, stream.state, dense=dense, target_box=target_box
            )
        require_finite(raw.body, raw.dense)
        return raw


def _moved_by(region: PixelMap, other: PixelMap) -> float:
    """The largest distance between equal corners, in sides of ``region``."""
    edges = np.array(source_rectangle(region)), np.array(source_rectangle(other))
    return float(np.abs(edges[0] - edges[1]).max()) / (region.scale * region.width)


def _in_crop(box: Float[np.ndarray, "4"], region: PixelMap) -> Float32[np.ndarray, "4"]:
    """A box of the source image as shares of a crop's width and height."""
    corners = to_network(box.reshape(2, 2), region) / [region.width, region.height]
    return np.asarray(corners.reshape(4), np.float32)
