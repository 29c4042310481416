# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One track: states, light temporal smoothing, and where the person is between measurements."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.config import TrackConfig
from thfm_ros.contract import Body, Intrinsics, TrackState
from thfm_ros.geometry import longer_side, pack_covariance, project, unpack_covariance
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.image_motion import OVERLAPPED_NOISE, ImageMotion, Surprise
from thfm_ros.perception.one_euro import OneEuroFilter
from thfm_ros.perception.root_filter import MAX_EXTRAPOLATION_S, RootFilter
from thfm_ros.perception.size_reference import SizeReference
from thfm_ros.size_error import size_covariance

_BODY_LENGTH_M = 1.7  # speeds are measured in body lengths per second, in space as in the image
_STEADY_HITS = 3  # detections after which the motion of the pelvis is steadier than that of the box
_MAX_UNMEASURED_S = 3.0  # after which a track ends that was not looked for


@dataclass
class Track:
    """The state of one track; ``body`` is what is reported of the newest frame."""

    track_id: str
    config: TrackConfig
    hits: int = 0  # number of detections
    detected_ns: int = 0  # stamp of the last one

    def __post_init__(self) -> None:
        self.body: Body  # as it is reported
        self._detected: Body  # as it was last detected
        self._not_missed_ns = 0  # stamp of the last frame with a detection, or not looked for in
        self._frames_unmeasured = 0  # since the last detection
        self._raw_box = np.zeros(4)
        self._box_velocity = np.zeros(2)  # of the centre, pixels per second
        self._filters = [OneEuroFilter(self.config) for _ in range(3)]
        self._root_filter, self._size = RootFilter(), SizeReference()
        self._motion = ImageMotion()
        self._camera: Intrinsics  # of the last detection
        self.hidden = False  # by another person; their own crop goes on looking for them

    def update(self, detection: Detection, stamp_ns: int, *, overlapped: bool = False) -> Body:
        """Continue the track with a detection; returns the body to report.

        ``overlapped``: another person's box overlaps, so the detection is less certain.
        """
        noise_factor = OVERLAPPED_NOISE if overlapped else 1.0
        self._motion.update(stamp_ns, detection.root_m, noise_factor)
        self._camera, self.hidden = detection.camera, False
        body, dt = detection.body, (stamp_ns - self.detected_ns) * 1e-9
        if self.hits:
            motion = (body.box[:2] + body.box[2:] - self._raw_box[:2] - self._raw_box[2:]) / 2
            kept = 0.5 ** (1 + self._frames_unmeasured)  # as if each frame had shown its share
            self._box_velocity = kept * self._box_velocity + (1 - kept) * motion / max(dt, 1e-3)
        self.hits, self.detected_ns, self._raw_box = self.hits + 1, stamp_ns, body.box
        self._not_missed_ns, self._frames_unmeasured = stamp_ns, 0
        covariance = unpack_covariance(body.root_covariance_m2)
        root_m = body.root_m / self._size.relative_size(body.positions_m)
        self._root_filter.update(stamp_ns, root_m, covariance)
        motion = self._root_filter.predict(0.0)
        if self.config.smoothing == "one_euro":
            body = self._smoothed(body, dt)
        confirmed = self.hits >= self.config.hits_to_confirm
        state = TrackState.TRACKED if confirmed else TrackState.TENTATIVE
        of_the_size = pack_covariance(size_covariance(body.root_m))
        self.body = self._detected = dataclasses.replace(
            body,
            id=self.track_id,
            state=state,
            covariances_m2=body.covariances_m2 + of_the_size,
            root_covariance_m2=body.root_covariance_m2 + of_the_size,
            velocity_m_s=motion.velocity_m_s.astype(np.float32),
            velocity_covariance=pack_covariance(motion.velocity_covariance),
        )
        return self.body

    def forget_positions(self) -> None:
        """Begin position and velocity with the next detection: the scale of space has changed."""
        self._motion = ImageMotion()
        self._filters[1:] = [OneEuroFilter(self.config) for _ in self._filters[1:]]
        self._root_filter = RootFilter()

    def mark_unseen(self, stamp_ns: int, *, measured: bool) -> bool:
        """Predict the body of a frame without a detection; False if the track has ended.

        A track that was looked for is lost, or ends if it is tentative. One that was not stays
        tentative, or is predicted; once it is lost it stays lost. ``lost_for_s`` counts from the
        frame before the first miss: frames in which no one looked say nothing.
        """
        state = self.body.state
        if not measured:
            self._frames_unmeasured += 1
            if state is not TrackState.LOST:
                self._not_missed_ns = stamp_ns
        missed_s = (stamp_ns - self._not_missed_ns) * 1e-9
        # The turn of one who is not measured may come late: with a small budget, or slow crops.
        longest_s = max(self.config.lost_for_s, _MAX_UNMEASURED_S)
        unmeasured_s = (stamp_ns - self.detected_ns) * 1e-9
        if missed_s > self.config.lost_for_s or (not measured and unmeasured_s > longest_s):
            return False
        if measured and state is TrackState.TENTATIVE:
            return False
        if measured:
            state = TrackState.LOST
        elif state is TrackState.TRACKED:
            state = TrackState.PREDICTED
        score = self._detected.score
        if state is TrackState.LOST:
            score *= max(1 - missed_s / max(self.config.lost_for_s, 1e-9), 0.0)
        self.body = dataclasses.replace(self._predicted(stamp_ns), state=state, score=score)
        return True

    def body_at(self, stamp_ns: int) -> Body:
        """The body at a time that is not before the newest frame's.

        The state says that it is a prediction; a track that is not confirmed stays TENTATIVE.
        """
        if stamp_ns <= self.detected_ns:
            return self.body
        state = self.body.state
        if state is TrackState.TRACKED:
            state = TrackState.PREDICTED
        return dataclasses.replace(self._predicted(stamp_ns), state=state, score=self.body.score)

    def _predicted(self, stamp_ns: int) -> Body:
        """The last detected body, moved to a later time."""
        last, age_s = self._detected, (stamp_ns - self.detected_ns) * 1e-9
        shift = (self.predicted_box(stamp_ns) - last.box).astype(np.float32)
        now, then = self._root_filter.predict(age_s), self._root_filter.predict(0.0)
        moved_m = (now.position_m - then.position_m).astype(np.float32)
        growth = pack_covariance(now.covariance_m2 - then.covariance_m2)
        return dataclasses.replace(
            last,
            box=last.box + shift,
            keypoints=last.keypoints + np.array([*shift[:2], 0], np.float32),
            positions_m=last.positions_m + moved_m,
            covariances_m2=last.covariances_m2 + growth,
            root_m=last.root_m + moved_m,
            root_covariance_m2=last.root_covariance_m2 + growth,
            velocity_m_s=now.velocity_m_s.astype(np.float32),
            velocity_covariance=pack_covariance(now.velocity_covariance),
            measurement_age_s=age_s,
        )

    def surprise(self, detection: Detection, stamp_ns: int) -> Surprise:
        """How badly a detection in a frame of this stamp fits the motion of the track."""
        return self._motion.surprise(stamp_ns, detection.root_m)

    def predicted_box(self, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """The last box, moved with constant velocity for at most MAX_EXTRAPOLATION_S.

        The velocity is that of the pelvis, once it is known: boxes seem to move otherwise where
        people swing their arms or are partly hidden.
        """
        ahead_s = min((stamp_ns - self.detected_ns) * 1e-9, MAX_EXTRAPOLATION_S)
        if self.hits >= _STEADY_HITS and self._motion.is_known:
            stamps_ns = self.detected_ns, self.detected_ns + round(ahead_s * 1e9)
            roots_m = np.stack([self._motion.root_at(each) for each in stamps_ns])
            shift = np.diff(project(roots_m, self._camera), axis=0)[0]
            if np.isfinite(shift).all():
                return np.asarray(self._raw_box + np.tile(shift, 2))
        return np.asarray(self._raw_box + np.tile(self._box_velocity * ahead_s, 2))

    def _smoothed(self, body: Body, dt: float) -> Body:
        longer = max(longer_side(body.box), 1.0)
        keypoint_filter, position_filter, root_filter = self._filters
        keypoints = body.keypoints.copy()
        keypoints[:, :2] = keypoint_filter.smooth(keypoints[:, :2], dt, longer)
        return dataclasses.replace(
            body,
            keypoints=keypoints,
            positions_m=position_filter.smooth(body.positions_m, dt, _BODY_LENGTH_M),
            root_m=root_filter.smooth(body.root_m[None], dt, _BODY_LENGTH_M)[0],
        )
