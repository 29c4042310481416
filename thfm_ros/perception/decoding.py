"""From what the network says about one crop to a body in the camera's pixels and metres.

Cells of a heatmap are 4 network pixels, cells of a dense map 2; the centre of cell i lies at
(i + 0.5) cells. Maps of the whole image are painted from sightings by maps.py.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from thfm_ros.config import DecodeConfig, RegionConfig
from thfm_ros.contract import Body, Intrinsics, PixelMap, TrackState
from thfm_ros.geometry import apart, iou, longer_side, to_network, to_source
from thfm_ros.model.outputs import DenseOutputs, RawOutputs
from thfm_ros.perception.instance_grouping import Cluster, group_instances
from thfm_ros.perception.keypoints import find_joints, in_space, place_root, remembered, view_of
from thfm_ros.skeleton import COCO_17

HEAT_CELL = 4.0
"""Network pixels per cell of a heatmap."""
DENSE_CELL = 2.0
"""Network pixels per cell of a dense map."""
_SURE = 0.3
"""Score above which a joint has a say in where the crop should be."""
_ELSEWHERE = 0.5
"""Of the longer side: who is so far from where a person should be is somebody else."""
_SHRUNK = 0.4
"""Of the longer side: what is smaller is a rest of somebody who is hidden, or a mistake."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who may be there; a crop of their own will tell."""

    box: Float32[np.ndarray, "4"]  # source pixels
    score: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One person as one crop shows them, before anybody says who it is.

    ``body`` has no id yet. Without calibration its metric fields are NaN, and ``camera`` is an
    assumed one of 53 degrees: ``root_m`` then orders people and relates their reliefs, no more.
    """

    body: Body
    map: PixelMap
    camera: Intrinsics  # of the source image
    turn: Float64[np.ndarray, "3 3"]  # R_optical_view
    root_m: Float64[np.ndarray, "3"]  # the pelvis in the optical frame of ``camera``
    dense: DenseOutputs | None
    mask: Float32[np.ndarray, "h w"] | None  # probability of "anybody", cells of the dense maps
    target: Bool[np.ndarray, "h w"] | None  # the cells that belong to this person
    neighbours: tuple[Candidate, ...]  # others in this crop, as far as it shows them

    @property
    def extent(self) -> Float32[np.ndarray, "4"]:
        """What a crop should show: the box, and joints that the mask may have missed."""
        sure = self.body.keypoints[self.body.keypoints[:, 2] > _SURE, :2]
        low = np.minimum(self.body.box[:2], sure.min(axis=0, initial=np.inf))
        high = np.maximum(self.body.box[2:], sure.max(axis=0, initial=-np.inf))
        return np.asarray(np.concatenate([low, high]), np.float32)


@dataclass(frozen=True, slots=True)
class Expected:
    """Where somebody should be, in source pixels."""

    box: Float[np.ndarray, "4"]
    joints: Float[np.ndarray, "k 2"] | None = None  # where they were, carried along with the box
    age_s: float = 0.0  # how long ago they were there


def decode_person(
    raw: RawOutputs,
    pixel_map: PixelMap,
    image: tuple[int, int],
    intrinsics: Intrinsics | None,
    expected: Expected,
    config: DecodeConfig,
) -> Detection | None:
    """The person in the middle of a crop; None when the crop shows nobody there.

    Args:
        raw: the network's words about the crop.
        pixel_map: where the crop lies.
        image: width and height of the source image.
        intrinsics: of the source image; None leaves everything metric NaN.
        expected: where the person should be.
        config: thresholds and sigmas.
    """
    joints = find_joints(
        raw.body.heatmaps, _memory(raw, pixel_map, expected, config.temporal_prior_weight)
    )
    inside, visible = sigmoid(raw.body.visibility).T
    known = inside * joints.mass >= config.min_keypoint_confidence
    mask = target = None
    others: list[Cluster] = []
    if raw.dense is not None:
        mask = sigmoid(raw.dense.mask)
        cells = joints.places[known] * (HEAT_CELL / DENSE_CELL)
        middle = to_network(expected.box.reshape(2, 2), pixel_map).reshape(4) / DENSE_CELL
        target, others = target_cells(mask, raw.dense.votes, cells, middle, config)
    places = to_source(joints.places * HEAT_CELL, pixel_map)
    places[~known] = np.nan
    if target is not None and target.sum() < 4:
        return None
    box = _box(target, places, pixel_map, image)
    if box is None:
        return None
    camera = intrinsics or assumed_camera(*image)
    sigma_px = joints.sigma * (HEAT_CELL * pixel_map.scale)
    root, relative = place_root(raw.body, places, sigma_px, pixel_map, camera, config)
    space = in_space(root, relative, places, sigma_px, camera, config.joint_depth_sigma_m)
    if intrinsics is None:
        space = space.unknown()
    presence = float(sigmoid(np.asarray(raw.body.presence)))
    score = presence * certainty(inside * visible, joints.mass)
    keypoints = np.column_stack([places, visible * joints.mass * known]).astype(np.float32)
    return Detection(
        body=Body("", TrackState.TENTATIVE, score, box, keypoints, *space),
        map=pixel_map,
        camera=camera,
        turn=view_of(pixel_map, camera).turn,
        root_m=root.position_m,
        dense=raw.dense,
        mask=mask,
        target=target,
        neighbours=tuple(_candidate(each, pixel_map, image) for each in others),
    )


def _memory(
    raw: RawOutputs, pixel_map: PixelMap, expected: Expected, hold: float
) -> Float32[np.ndarray, "k h w"] | None:
    if expected.joints is None or hold == 0:
        return None
    cells = to_network(expected.joints, pixel_map) / HEAT_CELL
    rows, columns = raw.body.heatmaps.shape[1:]
    return remembered(cells, expected.age_s, hold, (rows, columns))


def certainty(shown: Float[np.ndarray, " k"], mass: Float[np.ndarray, " k"]) -> float:
    """How sure the places of those COCO joints are that the crop is said to show, 0..1.

    Whoever is there has joints, each in one place. A tripod whose crop is taken for a person's has
    them in several: this tells the two apart where the network's presence is 1 for both.
    """
    shown, mass = shown[list(COCO_17)], mass[list(COCO_17)]
    return float((shown * mass).sum() / max(shown.sum(), 1.0))


def find_candidates(
    raw: RawOutputs,
    pixel_map: PixelMap,
    image: tuple[int, int],
    config: DecodeConfig,
    regions: RegionConfig,
) -> list[Candidate]:
    """The people of the whole frame, largest first; ``raw`` must have dense maps."""
    assert raw.dense is not None
    cell_px = DENSE_CELL * pixel_map.scale
    clusters, _ = group_instances(
        sigmoid(raw.dense.mask),
        raw.dense.votes,
        threshold=config.candidate_threshold,
        radius=config.vote_radius,
        min_side=regions.min_person_px / cell_px,
    )
    return [_candidate(each, pixel_map, image) for each in clusters]


def _candidate(cluster: Cluster, pixel_map: PixelMap, image: tuple[int, int]) -> Candidate:
    corners = cluster.box.reshape(2, 2) * DENSE_CELL
    return Candidate(_clipped(corners, pixel_map, image), cluster.score)


def target_cells(
    mask: Float32[np.ndarray, "h w"],
    votes: Float32[np.ndarray, "2 h w"],
    joints: Float[np.ndarray, "n 2"],
    expected: Float[np.ndarray, "4"],
    config: DecodeConfig,
) -> tuple[Bool[np.ndarray, "h w"], list[Cluster]]:
    """Which cells belong to the crop's person, and who else is there. Units are cells.

    Of the people that the votes tell apart it is the one who covers the ``expected`` box best
    and has most of the target's ``joints``. Somebody clearly elsewhere is not the person.
    """
    clusters, numbers = group_instances(
        mask, votes, threshold=config.mask_threshold, radius=config.vote_radius, min_side=2
    )
    cell = np.clip(joints.astype(int), 0, np.array(mask.shape[::-1]) - 1)
    owners = numbers[cell[:, 1], cell[:, 0]]

    def claim(number: int) -> float:
        share = np.count_nonzero(owners == number) / max(len(owners), 1)
        box = clusters[number].box
        return share + 2 * iou(box, expected) - apart(box, expected)

    best = max(range(len(clusters)), key=claim, default=-1)
    if best < 0 or not _plausible(clusters[best].box, expected):
        return np.zeros(mask.shape, bool), clusters
    return np.asarray(numbers == best), clusters[:best] + clusters[best + 1 :]


def _plausible(box: Float[np.ndarray, "4"], expected: Float[np.ndarray, "4"]) -> bool:
    """Whether somebody in ``expected`` can be seen in ``box``, a moment later or more closely."""
    shrunk = longer_side(box) < _SHRUNK * longer_side(expected)
    return not shrunk and apart(box, expected) <= _ELSEWHERE


def assumed_camera(width: int, height: int) -> Intrinsics:
    """What stands in for a camera that nobody calibrated: 53 degrees along the longer side."""
    focal = float(max(width, height))
    return Intrinsics(focal, focal, width / 2, height / 2, width, height)


def sigmoid(logits: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """1 / (1 + exp(-logits)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def _box(
    target: Bool[np.ndarray, "h w"] | None,
    keypoints: Float[np.ndarray, "k 2"],
    pixel_map: PixelMap,
    image: tuple[int, int],
) -> Float32[np.ndarray, "4"] | None:
    """The person's pixels, or where there is no map their joints and a little more."""
    if target is not None:
        x, y = _extent(target.sum(axis=0)), _extent(target.sum(axis=1))
        corners = np.array([x, y]).T * DENSE_CELL
        return _clipped(corners, pixel_map, image)
    known = keypoints[np.isfinite(keypoints).all(axis=1)]
    if len(known) < 3:
        return None
    low, high = known.min(axis=0), known.max(axis=0)
    # The body is larger than its joints: by about 1 / 14 over the eyes, less at the sides.
    longer = float((high - low).max())
    low, high = low - np.array([0.04, 0.07]) * longer, high + 0.04 * longer
    size = np.array([*image, *image])
    return np.asarray(np.clip([*low, *high], 0, size), np.float32)


def _extent(counts: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """First and last edge that leave one in a hundred pixels outside: strays do not count."""
    total = np.cumsum(counts)
    first, last = np.searchsorted(total, [0.01 * total[-1], 0.99 * total[-1]])
    return float(first), float(last) + 1


def _clipped(
    corners: Float[np.ndarray, "2 2"], pixel_map: PixelMap, image: tuple[int, int]
) -> Float32[np.ndarray, "4"]:
    """A box in source pixels from two corners in network pixels, inside the image."""
    box = to_source(corners, pixel_map).reshape(4)
    return np.asarray(np.clip(box, 0, [*image, *image]), np.float32)
