# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How well the people of several cameras are fused: positions, ids, and people counted twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment

from thfm_ros.contract import Body, Perception
from thfm_ros.evaluation.fusion_scenes import RigScene
from thfm_ros.fusion.detections import CameraFrame, Detection, Member, camera_frame
from thfm_ros.fusion.fuser import Fuser
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.skeleton import Joint

MIN_PIXELS = 400
"""A person is seen by a camera from this number of visible pixels on."""
MAX_ANGLE = 0.06
"""Between the rays of a person and of a camera's body that is taken for this person, radians."""
SETTLE_S = 0.3
"""After this time of a scene ids count."""


@dataclass
class FusionScores:
    """Sums over the frames of some scenes, for one set of cameras."""

    singles: dict[str, list[float]] = field(default_factory=dict)  # pelvis errors, m, by camera
    better_m: list[float] = field(default_factory=list)  # of the better camera of each scene
    mean_m: list[float] = field(default_factory=list)  # of the mean of the cameras' positions
    fused_m: list[float] = field(default_factory=list)
    joints_single_m: list[float] = field(default_factory=list)  # mean over joints, better camera
    joints_fused_m: list[float] = field(default_factory=list)
    people: int = 0  # person-frames that a camera sees
    found: int = 0  # of them with a fused body
    twice: int = 0  # fused bodies beyond one per person
    union: int = 0  # the same if the bodies of all cameras were published
    mixed: int = 0  # fused bodies that consist of bodies of two people
    switches: int = 0  # changes of the id of a person from one frame to the next
    steps: int = 0  # pairs of frames in which a person has a body

    def add(self, other: "FusionScores") -> None:
        """Add the scores of another scene or set of cameras."""
        self.better_m += other.better_m
        self.mean_m += other.mean_m
        self.fused_m += other.fused_m
        self.joints_single_m += other.joints_single_m
        self.joints_fused_m += other.joints_fused_m
        for name in ("people", "found", "twice", "union", "mixed", "switches", "steps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def camera_sets(cameras: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """Sets of cameras on a circle, in its order: neighbours, opposite ones, three, all."""
    pairs: list[tuple[str, ...]] = list(combinations(cameras, 2))
    opposite = [pair for pair in pairs if cameras.index(pair[1]) - cameras.index(pair[0]) == 2]
    return {
        "two cameras at 90 degrees": [pair for pair in pairs if pair not in opposite],
        "two opposite cameras": opposite,
        "three cameras": list(combinations(cameras, 3)),
        "four cameras": [tuple(cameras)],
    }


def scene_scores(
    scene: RigScene,
    views: Mapping[str, Sequence[Perception]],
    cameras: Sequence[str],
    settings: FusionSettings,
) -> FusionScores:
    """Fuse the views of some of the cameras, and compare with the truth frame by frame."""
    scores = FusionScores(singles={name: [] for name in cameras})
    fuser = Fuser(settings, seed=1)
    numbers = [scene.cameras.index(name) for name in cameras]
    centres = dict(zip(cameras, scene.centres_m[numbers], strict=True))
    joint_singles: dict[str, list[float]] = {name: [] for name in cameras}
    ids: dict[int, str] = {}
    for index in range(len(scene.joints_m)):
        frames = [_frame(name, views[name][index], centres[name], settings) for name in cameras]
        for frame in frames:
            fuser.add(frame)
        bodies = fuser.people("world").bodies
        groups = fuser.state.groups
        truth = scene.joints_m[index]
        seen = [_seen_along_rays(frame, truth) for frame in frames]
        owners = _people_of(groups, seen)
        present = (scene.visible_px[numbers, index] >= MIN_PIXELS).any(axis=0)
        _count(scores, owners, seen, np.flatnonzero(present).tolist())
        matched = _body_of_each(groups, owners)
        if index / scene.fps >= SETTLE_S:
            _count_ids(scores, bodies, matched, ids)
        _positions(scores, joint_singles, seen, bodies, matched, truth)
    _better_camera(scores, joint_singles)
    return scores


def _frame(
    name: str,
    perception: Perception,
    centre_m: Float64[np.ndarray, "3"],
    settings: FusionSettings,
) -> CameraFrame:
    return camera_frame(name, perception.stamp_ns, perception.bodies, centre_m, settings)


def _people_of(
    groups: Sequence[frozenset[Member]], seen: Sequence[Mapping[int, Detection]]
) -> list[set[int]]:
    """The people whom each group consists of; none for a false positive."""
    person_of = {each.member: person for of_camera in seen for person, each in of_camera.items()}
    return [{person_of[member] for member in group if member in person_of} for group in groups]


def _count(
    scores: FusionScores,
    owners: Sequence[set[int]],
    seen: Sequence[Mapping[int, Detection]],
    present: Sequence[int],
) -> None:
    bodies = {person: sum(person in each for each in owners) for person in present}
    detections = {person: sum(person in each for each in seen) for person in present}
    scores.people += len(present)
    scores.found += sum(count > 0 for count in bodies.values())
    scores.twice += sum(max(count - 1, 0) for count in bodies.values())
    scores.union += sum(max(count - 1, 0) for count in detections.values())
    scores.mixed += sum(len(each) > 1 for each in owners)


def _body_of_each(
    groups: Sequence[frozenset[Member]], owners: Sequence[set[int]]
) -> dict[int, int]:
    """The fused body of each person: of several the one of most cameras."""
    order = sorted(range(len(groups)), key=lambda index: len(groups[index]))
    return {next(iter(owners[index])): index for index in order if len(owners[index]) == 1}


def _count_ids(
    scores: FusionScores, bodies: Sequence[Body], matched: Mapping[int, int], ids: dict[int, str]
) -> None:
    for person, body in matched.items():
        body_id = bodies[body].id
        if person in ids:
            scores.steps += 1
            scores.switches += ids[person] != body_id
        ids[person] = body_id


def _positions(
    scores: FusionScores,
    joint_singles: dict[str, list[float]],
    seen: Sequence[Mapping[int, Detection]],
    bodies: Sequence[Body],
    matched: Mapping[int, int],
    truth: Float64[np.ndarray, "p 35 3"],
) -> None:
    """Errors of the people whom every camera sees: otherwise there is nothing to fuse."""
    for person, body in matched.items():
        if any(person not in each for each in seen):
            continue
        pelvis = truth[person, Joint.PELVIS]
        single = [each[person] for each in seen]
        for detection in single:
            camera = detection.member.camera
            scores.singles[camera].append(float(np.linalg.norm(detection.root_m - pelvis)))
            joint_singles[camera].append(_joint_error(detection.joints_m, truth[person]))
        mean = np.mean([each.root_m for each in single], axis=0)
        scores.mean_m.append(float(np.linalg.norm(mean - pelvis)))
        scores.fused_m.append(float(np.linalg.norm(bodies[body].root_m - pelvis)))
        scores.joints_fused_m.append(_joint_error(bodies[body].positions_m, truth[person]))


def _seen_along_rays(
    frame: CameraFrame, truth: Float64[np.ndarray, "p 35 3"]
) -> dict[int, Detection]:
    """The body of each person in one camera, matched by direction: its distance may be wrong."""
    detections = [each for each in frame.detections if each.is_measured]
    if not detections:
        return {}
    centre = detections[0].root_m - detections[0].offset_m
    angles = np.arccos(
        np.clip(
            _directions(truth[:, Joint.PELVIS] - centre)
            @ _directions(np.stack([each.root_m for each in detections]) - centre).T,
            -1,
            1,
        )
    )
    rows, columns = linear_sum_assignment(np.minimum(angles, MAX_ANGLE))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: detections[column] for row, column in pairs if angles[row, column] < MAX_ANGLE}


def _directions(vectors: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _joint_error(joints_m: np.ndarray, truth: np.ndarray) -> float:
    return float(np.nanmean(np.linalg.norm(joints_m - truth, axis=1)))


def _better_camera(scores: FusionScores, joint_singles: Mapping[str, list[float]]) -> None:
    """The camera of least mean error in this scene stands for what one camera can do."""
    means = {name: np.mean(errors) for name, errors in scores.singles.items() if errors}
    if means:
        scores.better_m += scores.singles[min(means, key=lambda name: means[name])]
        joints = {name: np.mean(errors) for name, errors in joint_singles.items()}
        scores.joints_single_m += joint_singles[min(joints, key=lambda name: joints[name])]
