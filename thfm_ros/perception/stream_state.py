# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What one step of the pipeline hands on to the next one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from thfm_ros.contract import Body, Frame
from thfm_ros.perception.crop_stream import CropDetection, CropStream
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.tracking import TrackOutput

REJECTED_FOR_NS = 1_000_000_000
"""After a crop rejected a proposal, proposals at the same place are ignored for this time."""


@dataclass(frozen=True, slots=True)
class TrackedPerson:
    """A person of the previous frame; source pixels."""

    stream: CropStream
    extent: Float32[np.ndarray, "4"]  # what the crop must contain
    keypoints: Float32[np.ndarray, "k 2"]
    box: Float32[np.ndarray, "4"]  # of the body as it was reported for the previous frame

    def moved_to(self, body: Body) -> "TrackedPerson":
        """The same person, predicted to be at the box of ``body``."""
        shift = body.box - self.box
        return TrackedPerson(self.stream, self.extent + shift, self.keypoints + shift[:2], body.box)


class RejectedProposal(NamedTuple):
    """A box whose crop does not show a person."""

    box: Float32[np.ndarray, "4"]
    until_ns: int  # stamp until which proposals at this place are ignored


@dataclass(frozen=True, slots=True)
class StreamState:
    """What one step hands on to the next step of the same stream, apart from the tracks."""

    stamp_ns: int = 0
    people: Mapping[str, TrackedPerson] = field(default_factory=dict)  # by track id
    neighbours: tuple[Proposal, ...] = ()  # other people in the crops of tracked people
    rejected_proposals: tuple[RejectedProposal, ...] = ()
    left_out: int = 0  # proposals of the newest detection pass that max_people left without a crop
    pending: tuple[Proposal, ...] = ()  # whose crops the time budget put off to the next frame


def tracked_people(
    state: StreamState,
    tracks: Sequence[TrackOutput],
    detections: Mapping[str, CropDetection],
    new_detections: Sequence[CropDetection],
) -> dict[str, TrackedPerson]:
    """The people whose crops the next frame needs, by track id: those who are detected in this
    frame, not looked for in it on purpose, or hidden.
    """
    people: dict[str, TrackedPerson] = {}
    for body, detection, new_index, followed in tracks:
        if detection is None:
            if followed:
                people[body.id] = state.people[body.id].moved_to(body)
            continue
        found = detections[body.id] if new_index is None else new_detections[new_index]
        keypoints = detection.body.keypoints[:, :2]
        people[body.id] = TrackedPerson(found.stream, detection.extent, keypoints, body.box)
    return people


def next_state(
    state: StreamState,
    frame: Frame,
    tracks: Sequence[TrackOutput],
    people: Mapping[str, TrackedPerson],
    rejected: Sequence[RejectedProposal],
    left_out: int,
    pending: tuple[Proposal, ...],
) -> StreamState:
    """What the next step needs."""
    still_rejected = [each for each in state.rejected_proposals if each.until_ns > frame.stamp_ns]
    neighbours = [
        each for track in tracks if track.detection for each in track.detection.neighbours
    ]
    ignored = (*still_rejected, *rejected)
    return StreamState(frame.stamp_ns, people, tuple(neighbours), ignored, left_out, pending)
