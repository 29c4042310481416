# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where proposals of people come from: the own detection passes, another detector, or both."""

from thfm_ros.config import Config
from thfm_ros.contract import Frame
from thfm_ros.engine.base import Engine
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.external_boxes import ExternalBoxes
from thfm_ros.perception.person_search import PersonDetector
from thfm_ros.perception.stage_timer import StageTimer
from thfm_ros.perception.stream_state import StreamState


def external_boxes_for(config: Config) -> ExternalBoxes | None:
    """What receives the boxes of another detector, if the configuration names one."""
    node = config.node
    if not node.detections:
        return None
    return ExternalBoxes(node.detections_class, node.detections_max_age_s)


class ProposalSources:
    """All sources of proposals for the images of one camera.

    Args:
        engine: runs the network of the detection passes.
        config: of the pipeline.
        live: see `PersonDetector`.
        external: boxes of another detector; None: there is none.
    """

    def __init__(
        self, engine: Engine, config: Config, *, live: bool, external: ExternalBoxes | None
    ) -> None:
        self.external = external
        self._min_score = config.decode.candidate_threshold
        self._own: PersonDetector | None = PersonDetector(engine, config, live=live)
        if external is not None and config.node.detections_mode == "replace":
            self._own = None

    def reset(self) -> None:
        """Begin a new stream."""
        if self._own is not None:
            self._own.reset()

    def request_detection(self) -> None:
        """Make an own detection pass due with the next frame: a track was lost."""
        if self._own is not None:
            self._own.request_detection()

    def detect(
        self, frame: Frame, timer: StageTimer, state: StreamState, *, at_capacity: bool
    ) -> list[Proposal] | None:
        """The proposals that have come in since the frame before; None: no detector has looked.

        With those of an own pass come the other people in the crops of tracked people, so not
        where another detector alone decides.

        Args:
            frame: the newest.
            timer: see `PersonDetector.detect`.
            state: of the frame before.
            at_capacity: no further track may begin.
        """
        found = self.external.take(frame) if self.external is not None else None
        if found is not None:  # those put off are not lost, however often another detector looks
            found = [each for each in found if each.score >= self._min_score]
            found += state.pending
        if self._own is None:
            return found
        no_tracks = not state.people
        own = self._own.detect(frame, timer, no_tracks=no_tracks, at_capacity=at_capacity)
        if own is None:
            return found
        return [*own, *state.neighbours, *(found or ())]

    def examined(self, proposal: Proposal, *, is_person: bool) -> None:
        """A crop has confirmed or rejected a proposal."""
        if proposal.external and self.external is not None:
            self.external.examined(is_person=is_person)
