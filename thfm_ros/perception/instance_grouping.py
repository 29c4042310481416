# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Grouping mask pixels into instances: every pixel votes for the centre of its person's box.

A vote is (centre - pixel) / longer side of the image. Connected components of the mask are split
where their votes end in several places, and joined where separate pieces (a person behind a pole)
vote for one. Units here are cells of the map; the centre of the first is (0.5, 0.5).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int

_ROUNDS = 3  # of grouping: pixels that fit no instance take part in the next one
_BLUR = 0.05  # of the person's side: vote ends nearer than this are one peak
_PEAK_DISTANCE = 0.12  # of the side: a peak is the highest value within this distance
_PEAK_SHARE = 0.03  # a second peak has at least this share of the highest one
_VALLEY = 0.75  # and between them the density falls below this share of the lower one


@dataclass(frozen=True, slots=True)
class Cluster:
    """The pixels of one instance."""

    members: Int[np.ndarray, " n"]  # indices into the list of all mask pixels
    centre: Float[np.ndarray, "2"]  # mean end of the votes: x, y
    box: Float[np.ndarray, "4"]  # of the pixels: x_min, y_min, x_max, y_max
    score: float  # 0..1: mean mask probability, reduced where votes disagree


@dataclass(frozen=True, slots=True)
class _Pixels:
    """All mask pixels with their votes."""

    rows: Int[np.ndarray, " n"]
    columns: Int[np.ndarray, " n"]
    ends: Float[np.ndarray, "n 2"]  # where the votes end: x, y
    reach: Float[np.ndarray, " n"]  # length of the votes: the larger of x and y
    weights: Float[np.ndarray, " n"]  # mask probability


def group_instances(
    mask: Float32[np.ndarray, "h w"],
    votes: Float32[np.ndarray, "2 h w"],
    *,
    threshold: float,
    radius: float,
    min_side: float,
) -> tuple[list[Cluster], Int[np.ndarray, "h w"]]:
    """Group the pixels of one mask into instances.

    Args:
        mask: probability of "person".
        votes: x, y; see the module's docstring.
        threshold: pixels of lower probability are background.
        radius: maximum error of a vote, in longer sides of its person.
        min_side: clusters whose longer side is shorter are dropped.

    Returns:
        Clusters, those with most pixels first, and the map of their indices in that list (-1:
        background).
    """
    pixels = _pixels(mask, votes, threshold)
    pieces: list[Int[np.ndarray, " n"]] = []
    remaining = np.arange(len(pixels.rows))
    for number in range(_ROUNDS):
        ungrouped = [remaining[:0]]
        for component in _components(mask.shape, pixels, remaining, denoise=number > 0):
            groups, rest = _group(pixels, component, radius, last=number == _ROUNDS - 1)
            pieces += groups
            ungrouped.append(rest)
        remaining = np.concatenate(ungrouped)
        if len(remaining) < max(4.0, min_side):
            break
    clusters = [_cluster(pixels, members, radius) for members in _joined(pixels, pieces, radius)]
    clusters = [each for each in clusters if (each.box[2:] - each.box[:2]).max() >= min_side]
    clusters.sort(key=lambda each: -len(each.members))
    clusters = [each for i, each in enumerate(clusters) if not _is_fragment(each, clusters[:i])]
    numbers = np.full(mask.shape, -1)
    for number, each in enumerate(clusters):
        numbers[pixels.rows[each.members], pixels.columns[each.members]] = number
    return clusters, numbers


def _pixels(
    mask: Float32[np.ndarray, "h w"], votes: Float32[np.ndarray, "2 h w"], threshold: float
) -> _Pixels:
    """The mask pixels; votes inside the mask are median-filtered, so that noise splits no instance.

    A median and not a mean: between two people it stays on one side.
    """
    person = (mask > threshold).astype(np.uint8)
    rows, columns = np.nonzero(person)
    raw = votes[:, rows, columns]
    inner = cv2.erode(person, np.ones((3, 3), np.uint8))[rows, columns] > 0
    smooth = _medians(votes, rows, columns) if inner.any() else raw
    offsets = np.where(inner, smooth, raw).T * max(mask.shape)
    positions = np.stack([columns, rows], 1) + 0.5
    reach = np.abs(offsets).max(axis=1, initial=0)
    return _Pixels(rows, columns, positions + offsets, reach, mask[rows, columns])


def _medians(
    votes: Float32[np.ndarray, "2 h w"], rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " n"]
) -> Float32[np.ndarray, "2 n"]:
    """The median of the 3x3 votes around each of these pixels, at least one."""
    # Filtering takes most of the time of a mask, so only the pixels' rectangle and a rim are.
    top, left = max(int(rows.min()) - 1, 0), max(int(columns.min()) - 1, 0)
    area = (slice(top, int(rows.max()) + 2), slice(left, int(columns.max()) + 2))
    filtered = [cv2.medianBlur(np.ascontiguousarray(each[area]), 3) for each in votes]
    return np.stack([each[rows - top, columns - left] for each in filtered])


def _components(
    shape: tuple[int, ...], pixels: _Pixels, chosen: Int[np.ndarray, " m"], denoise: bool
) -> list[Int[np.ndarray, " b"]]:
    """The connected components of the chosen pixels; ``denoise`` drops scattered pixels first."""
    rows, columns = pixels.rows[chosen], pixels.columns[chosen]
    image = np.zeros(shape, np.uint8)
    image[rows, columns] = 1
    if denoise:
        image = cv2.morphologyEx(image, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(image, connectivity=8)
    label = labels[rows, columns]
    pieces = [chosen[label == number] for number in range(1, count)]
    return [piece for piece in pieces if len(piece) >= 4]


def _centre(pixels: _Pixels, members: Int[np.ndarray, " n"]) -> Float[np.ndarray, "2"]:
    weight = pixels.weights[members]
    return np.asarray(weight @ pixels.ends[members] / weight.sum())


def _side(pixels: _Pixels, members: Int[np.ndarray, " n"]) -> float:
    """Longer side of the largest person among ``members``.

    The pixels farthest from their person's centre are half a side away from it.
    """
    return max(2 * _quantile(pixels.reach[members], 0.95), 2.0)


def _quantile(values: Float[np.ndarray, " n"], share: float) -> float:
    """Without interpolation: numpy's own quantile takes five times as long."""
    index = int(share * (len(values) - 1))
    return float(np.partition(values, index)[index])


def _vote_errors(
    pixels: _Pixels, members: Int[np.ndarray, " n"], centre: Float[np.ndarray, "2"], side: float
) -> Float[np.ndarray, " n"]:
    """Distance between ``centre`` and the ends of the votes of ``members``, in sides."""
    x, y = (pixels.ends[members] - centre).T
    return np.asarray(np.sqrt(x * x + y * y) / side)


def _group(
    pixels: _Pixels, component: Int[np.ndarray, " n"], radius: float, last: bool
) -> tuple[list[Int[np.ndarray, " m"]], Int[np.ndarray, " r"]]:
    """The pixels of each person in a component, and the rest, empty in the ``last`` round."""
    groups: list[Int[np.ndarray, " m"]] = []
    rest = [component[:0]]
    for group in _split(pixels, component):
        side = _side(pixels, group)
        near = _vote_errors(pixels, group, _centre(pixels, group), side) <= radius
        if near.any():
            near = _vote_errors(pixels, group, _centre(pixels, group[near]), side) <= radius
        if near.mean() < 0.5 or last:
            # Votes that contradict each other cannot separate people: it is one person.
            near[:] = True
        groups.append(group[near])
        rest.append(group[~near])
    return groups, np.concatenate(rest)


def _split(pixels: _Pixels, component: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    """Split a component by the peaks of its votes' density; one group if there is one peak."""
    ends = pixels.ends[component] / _side(pixels, component)
    low = np.array([_quantile(axis, 0.02) for axis in ends.T])
    high = np.array([_quantile(axis, 0.98) for axis in ends.T])
    if (high - low).max() < _PEAK_DISTANCE:
        return [component]
    cell = _BLUR / 2
    low, high = low - 3 * _BLUR, high + 3 * _BLUR
    width, height = (int(n) + 1 for n in np.minimum(high - low, 8.0) / cell)
    column, row = np.clip(((ends - low) / cell).astype(int), 0, [width - 1, height - 1]).T
    density = np.bincount(row * width + column, pixels.weights[component], width * height)
    smooth = density.reshape(height, width).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), _BLUR / cell, borderType=cv2.BORDER_CONSTANT)
    peaks = _peaks(smooth, _PEAK_DISTANCE / cell)
    if len(peaks) == 1:
        return [component]
    distance = np.hypot(row[:, None] - peaks[:, 0], column[:, None] - peaks[:, 1])
    nearest = distance.argmin(axis=1)
    if not _coherent(pixels, component, nearest):
        return [component]
    return [
        component[nearest == number]
        for number in range(len(peaks))
        if (nearest == number).sum() >= 4
    ]


def _coherent(
    pixels: _Pixels, component: Int[np.ndarray, " n"], nearest: Int[np.ndarray, " n"]
) -> bool:
    """Whether adjacent pixels mostly have the same nearest peak: noise is scattered."""
    row, column = pixels.rows[component], pixels.columns[component]
    image = np.full((row.max() + 1, column.max() + 1), np.nan)
    image[row, column] = nearest
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    pairs = np.concatenate([down[np.isfinite(down)], right[np.isfinite(right)]])
    return bool(np.count_nonzero(pairs) < 0.2 * len(pairs))


def _peaks(density: Float32[np.ndarray, "h w"], distance: float) -> Int[np.ndarray, "n 2"]:
    """Row and column of the peaks, highest first, that are separated by distance and a valley."""
    reach = 2 * int(distance) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    maxima = (density >= cv2.dilate(density, disc)) & (density > _PEAK_SHARE * density.max())
    candidates = np.argwhere(maxima)
    candidates = candidates[np.argsort(-density[maxima], kind="stable")]
    peaks = [candidates[0]]
    for candidate in candidates[1:]:
        if all(_has_valley(density, candidate, peak) for peak in peaks):
            peaks.append(candidate)
    return np.array(peaks)


def _has_valley(
    density: Float32[np.ndarray, "h w"], a: Int[np.ndarray, "2"], b: Int[np.ndarray, "2"]
) -> bool:
    """Whether the density between two peaks falls below a share of the lower one."""
    along = np.linspace(a, b, 12).round().astype(int)
    heights = density[along[:, 0], along[:, 1]]
    return bool(heights.min() < _VALLEY * min(heights[0], heights[-1]))


def _joined(
    pixels: _Pixels, pieces: list[Int[np.ndarray, " n"]], radius: float
) -> list[Int[np.ndarray, " m"]]:
    """Join two pieces if most of the smaller one votes for the centre of the larger one."""
    wholes: list[Int[np.ndarray, " m"]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        for number, whole in enumerate(wholes):
            # The side is underestimated in a piece that does not reach the person's end.
            side = max(_side(pixels, whole), _side(pixels, piece))
            fits = _vote_errors(pixels, piece, _centre(pixels, whole), side) < radius / 2
            if fits.mean() > 0.7:
                wholes[number] = np.concatenate([whole, piece])
                break
        else:
            wholes.append(piece)
    return wholes


def _cluster(pixels: _Pixels, members: Int[np.ndarray, " n"], radius: float) -> Cluster:
    centre, side = _centre(pixels, members), _side(pixels, members)
    agree = float((_vote_errors(pixels, members, centre, side) <= radius).mean())
    # Outliers must not enlarge the box: one percent of the pixels may lie outside each edge.
    x, y = pixels.columns[members], pixels.rows[members]
    low, high = ([_quantile(axis, share) for axis in (x, y)] for share in (0.01, 0.99))
    score = float(pixels.weights[members].mean()) * (0.5 + 0.5 * agree)
    return Cluster(members, centre, np.array([*low, *(edge + 1 for edge in high)]), score)


def _is_fragment(cluster: Cluster, larger: list[Cluster]) -> bool:
    """Whether it is a few pixels with outlier votes inside a larger cluster, and not a person."""
    x0, y0, x1, y1 = cluster.box
    for other in larger:
        ox0, oy0, ox1, oy1 = other.box
        inside = max(0.0, min(x1, ox1) - max(x0, ox0)) * max(0.0, min(y1, oy1) - max(y0, oy0))
        few = len(cluster.members) < 0.04 * len(other.members)
        if few and inside > 0.8 * (x1 - x0) * (y1 - y0):
            return True
    return False
