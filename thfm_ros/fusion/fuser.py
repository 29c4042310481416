# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One set of people from the bodies of several cameras."""

from collections.abc import Sequence

from thfm_ros.contract import Body, Intrinsics, Perception
from thfm_ros.fusion.detections import CameraFrame, Detection, Member, predicted
from thfm_ros.fusion.fused_body import fused_body
from thfm_ros.fusion.history import Arrival, History, State
from thfm_ros.fusion.identities import Identities
from thfm_ros.fusion.settings import FusionSettings

NO_IMAGE = Intrinsics(1.0, 1.0, 0.0, 0.0, 0, 0)
"""Of a fused perception: metric, but not of one camera."""


class Fuser:
    """Frames of cameras in, people out.

    Args:
        settings: all parameters.
        seed: of the ids; -1: different ones in every run.
        used_ids: ids that are not used again; those of this object are added.
    """

    def __init__(
        self, settings: FusionSettings, seed: int = -1, used_ids: set[str] | None = None
    ) -> None:
        self._settings = settings
        self._history = History(settings)
        self._identities = Identities(settings.lost_for_s, seed, used_ids)

    @property
    def state(self) -> State:
        """What is known after the newest frame."""
        return self._history.newest

    def add(self, frame: CameraFrame, now_ns: int | None = None) -> Arrival:
        """Take in one frame; see `History.add`."""
        return self._history.add(frame, now_ns)

    def reset(self) -> None:
        """Forget all frames; ids are not used again."""
        self._history.reset()

    def people(self, frame_id: str) -> Perception:
        """All people at the stamp of the newest frame, in the world frame ``frame_id``.

        The bodies have no pixels: the image's size and their boxes are zero, x and y NaN.
        """
        state = self._history.newest
        groups = _groups_with_detections(state, self._settings)
        ids = self._identities.assign([frozenset(g) for g, _ in groups], state.stamp_ns)
        bodies = tuple(
            fused_body(detections, body_id, self._settings.size_sigma)
            for (_, detections), body_id in zip(groups, ids, strict=True)
        )
        left_out = max((frame.left_out for frame in state.frames.values()), default=0)
        return Perception(
            stamp_ns=state.stamp_ns,
            frame_id=frame_id,
            width=0,
            height=0,
            intrinsics=NO_IMAGE,
            bodies=bodies,
            left_out=left_out,
        )

    def members(self) -> list[tuple[Body, frozenset[Member]]]:
        """The bodies of the cameras that each person consists of, for diagnostics and tests."""
        state = self._history.newest
        groups = _groups_with_detections(state, self._settings)
        return [(fused_body(s, "", self._settings.size_sigma), frozenset(g)) for g, s in groups]


def _groups_with_detections(
    state: State, settings: FusionSettings
) -> list[tuple[Sequence[Member], list[Detection]]]:
    """Each group with its detections, predicted to the state's stamp."""
    by_member = {
        each.member: predicted(each, (state.stamp_ns - frame.stamp_ns) * 1e-9, settings)
        for frame in state.frames.values()
        for each in frame.detections
    }
    return [
        (sorted(group), [by_member[member] for member in sorted(group)]) for group in state.groups
    ]
