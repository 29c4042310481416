"""Telling people apart: every person pixel votes for the centre of its person's box.

A vote is (centre - pixel) / longer side of the image. Blobs of the mask are taken one by one,
split where their votes end in several places, and joined where separate pieces (somebody behind a
pole) agree on one. Units here are cells of the map; the centre of the first is (0.5, 0.5).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int

_ROUNDS = 3  # what fits nobody is looked at again, so often
_BLUR = 0.05  # of the person's side: ends of votes nearer than this are one peak
_PEAK_DISTANCE = 0.12  # of the side: a peak is the highest so far round
_PEAK_SHARE = 0.03  # a second peak has at least this share of the first
_VALLEY = 0.75  # and between them the density falls below this share of the lower


@dataclass(frozen=True, slots=True)
class Cluster:
    """The pixels of one person, by their indices into the list of all mask pixels."""

    members: Int[np.ndarray, " n"]
    centre: Float[np.ndarray, "2"]  # where the votes end: x, y
    box: Float[np.ndarray, "4"]  # of the pixels: x_min, y_min, x_max, y_max
    score: float  # 0..1: mean mask probability, times how well the votes agree


@dataclass(frozen=True, slots=True)
class _Pixels:
    rows: Int[np.ndarray, " n"]
    columns: Int[np.ndarray, " n"]
    ends: Float[np.ndarray, "n 2"]  # where the votes point to: x, y
    reach: Float[np.ndarray, " n"]  # how far away that is, in x or in y, whichever is more
    weights: Float[np.ndarray, " n"]


def group_instances(
    mask: Float32[np.ndarray, "h w"],
    votes: Float32[np.ndarray, "2 h w"],
    *,
    threshold: float,
    radius: float,
    min_side: float,
) -> tuple[list[Cluster], Int[np.ndarray, "h w"]]:
    """Find the people of one map.

    Args:
        mask: probability of "a person".
        votes: x, y; see the module's text.
        threshold: pixels below it are nobody.
        radius: a vote may miss by so much of its person's side.
        min_side: clusters whose longer side is shorter are dropped.

    Returns:
        Clusters, largest first, and the map of their numbers in that list (-1: nobody).
    """
    pixels = _pixels(mask, votes, threshold)
    found: list[Int[np.ndarray, " n"]] = []
    waiting = np.arange(len(pixels.rows))
    for turn in range(_ROUNDS):
        left = [waiting[:0]]
        for blob in _blobs(mask.shape, pixels, waiting, clean=turn > 0):
            people, rest = _people_of_blob(pixels, blob, radius, last=turn == _ROUNDS - 1)
            found += people
            left.append(rest)
        waiting = np.concatenate(left)
        if len(waiting) < max(4.0, min_side):
            break
    clusters = [_cluster(pixels, members, radius) for members in _joined(pixels, found, radius)]
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
    """The pixels of people; inside of them votes are medians, so that noise splits nobody.

    A median and not a mean: between two people it stays on one side.
    """
    here = (mask > threshold).astype(np.uint8)
    rows, columns = np.nonzero(here)
    inner = cv2.erode(here, np.ones((3, 3), np.uint8))[rows, columns] > 0
    raw = votes[:, rows, columns]
    smooth = np.stack([cv2.medianBlur(each, 3)[rows, columns] for each in votes])
    step = np.where(inner, smooth, raw).T * max(mask.shape)
    places = np.stack([columns, rows], 1) + 0.5
    reach = np.abs(step).max(axis=1, initial=0)
    return _Pixels(rows, columns, places + step, reach, mask[rows, columns])


def _blobs(
    shape: tuple[int, ...], pixels: _Pixels, chosen: Int[np.ndarray, " m"], clean: bool
) -> list[Int[np.ndarray, " b"]]:
    """The connected pieces of the chosen pixels, as indices; ``clean`` drops what is scattered."""
    rows, columns = pixels.rows[chosen], pixels.columns[chosen]
    image = np.zeros(shape, np.uint8)
    image[rows, columns] = 1
    if clean:
        image = cv2.morphologyEx(image, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(image, connectivity=8)
    label = labels[rows, columns]
    pieces = [chosen[label == number] for number in range(1, count)]
    return [piece for piece in pieces if len(piece) >= 4]


def _centre(pixels: _Pixels, members: Int[np.ndarray, " n"]) -> Float[np.ndarray, "2"]:
    weight = pixels.weights[members]
    return np.asarray(weight @ pixels.ends[members] / weight.sum())


def _side(pixels: _Pixels, members: Int[np.ndarray, " n"]) -> float:
    """Longer side of a person among ``members``, however many they are.

    The pixels farthest from their own centre are half a side away from it.
    """
    return max(2 * _quantile(pixels.reach[members], 0.95), 2.0)


def _quantile(values: Float[np.ndarray, " n"], share: float) -> float:
    """Without interpolation: numpy's own takes five times as long."""
    place = int(share * (len(values) - 1))
    return float(np.partition(values, place)[place])


def _misses(
    pixels: _Pixels, members: Int[np.ndarray, " n"], centre: Float[np.ndarray, "2"], side: float
) -> Float[np.ndarray, " n"]:
    """How far, in sides, the votes of ``members`` end from ``centre``."""
    x, y = (pixels.ends[members] - centre).T
    return np.asarray(np.sqrt(x * x + y * y) / side)


def _people_of_blob(
    pixels: _Pixels, blob: Int[np.ndarray, " n"], radius: float, last: bool
) -> tuple[list[Int[np.ndarray, " m"]], Int[np.ndarray, " r"]]:
    """Members of each person in one blob, and the pixels that fit nobody."""
    people: list[Int[np.ndarray, " m"]] = []
    rest = [blob[:0]]
    for group in _split(pixels, blob):
        side = _side(pixels, group)
        near = _misses(pixels, group, _centre(pixels, group), side) <= radius
        if near.any():
            near = _misses(pixels, group, _centre(pixels, group[near]), side) <= radius
        if near.mean() < 0.5 or last:
            # Votes that contradict each other tell nobody apart: the blob is the person.
            near[:] = True
        people.append(group[near])
        rest.append(group[~near])
    return people, np.concatenate(rest)


def _split(pixels: _Pixels, blob: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    """Sort a blob's pixels by the place where their votes end, if there are several."""
    ends = pixels.ends[blob] / _side(pixels, blob)
    low = np.array([_quantile(axis, 0.02) for axis in ends.T])
    high = np.array([_quantile(axis, 0.98) for axis in ends.T])
    if (high - low).max() < _PEAK_DISTANCE:
        return [blob]
    cell = _BLUR / 2
    low, high = low - 3 * _BLUR, high + 3 * _BLUR
    width, height = (int(n) + 1 for n in np.minimum(high - low, 8.0) / cell)
    column, row = np.clip(((ends - low) / cell).astype(int), 0, [width - 1, height - 1]).T
    density = np.bincount(row * width + column, pixels.weights[blob], width * height)
    smooth = density.reshape(height, width).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), _BLUR / cell, borderType=cv2.BORDER_CONSTANT)
    peaks = _peaks(smooth, _PEAK_DISTANCE / cell)
    if len(peaks) == 1:
        return [blob]
    distance = np.hypot(row[:, None] - peaks[:, 0], column[:, None] - peaks[:, 1])
    owner = distance.argmin(axis=1)
    if not _coherent(pixels, blob, owner):
        return [blob]
    return [blob[owner == number] for number in range(len(peaks)) if (owner == number).sum() >= 4]


def _coherent(pixels: _Pixels, blob: Int[np.ndarray, " n"], owner: Int[np.ndarray, " n"]) -> bool:
    """Whether neighbours mostly belong together: people are patches, noise is pepper."""
    row, column = pixels.rows[blob], pixels.columns[blob]
    image = np.full((row.max() + 1, column.max() + 1), np.nan)
    image[row, column] = owner
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    pairs = np.concatenate([down[np.isfinite(down)], right[np.isfinite(right)]])
    return bool(np.count_nonzero(pairs) < 0.2 * len(pairs))


def _peaks(density: Float32[np.ndarray, "h w"], distance: float) -> Int[np.ndarray, "n 2"]:
    """Row and column of the peaks, highest first, that are far enough and deep enough apart."""
    reach = 2 * int(distance) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    tops = (density >= cv2.dilate(density, disc)) & (density > _PEAK_SHARE * density.max())
    places = np.argwhere(tops)
    places = places[np.argsort(-density[tops], kind="stable")]
    peaks = [places[0]]
    for place in places[1:]:
        if all(_valley(density, place, other) for other in peaks):
            peaks.append(place)
    return np.array(peaks)


def _valley(
    density: Float32[np.ndarray, "h w"], a: Int[np.ndarray, "2"], b: Int[np.ndarray, "2"]
) -> bool:
    along = np.linspace(a, b, 12).round().astype(int)
    heights = density[along[:, 0], along[:, 1]]
    return bool(heights.min() < _VALLEY * min(heights[0], heights[-1]))


def _joined(
    pixels: _Pixels, people: list[Int[np.ndarray, " n"]], radius: float
) -> list[Int[np.ndarray, " m"]]:
    """Join the pieces of one person: most of the smaller piece votes for the larger's centre."""
    wholes: list[Int[np.ndarray, " m"]] = []
    for piece in sorted(people, key=len, reverse=True):
        for number, whole in enumerate(wholes):
            # A piece knows its person's side only if it reaches to the person's end.
            side = max(_side(pixels, whole), _side(pixels, piece))
            fits = _misses(pixels, piece, _centre(pixels, whole), side) < radius / 2
            if fits.mean() > 0.7:
                wholes[number] = np.concatenate([whole, piece])
                break
        else:
            wholes.append(piece)
    return wholes


def _cluster(pixels: _Pixels, members: Int[np.ndarray, " n"], radius: float) -> Cluster:
    centre, side = _centre(pixels, members), _side(pixels, members)
    agree = float((_misses(pixels, members, centre, side) <= radius).mean())
    # A few stray pixels must not stretch the box: one in a hundred may stay outside each edge.
    x, y = pixels.columns[members], pixels.rows[members]
    low, high = ([_quantile(axis, share) for axis in (x, y)] for share in (0.01, 0.99))
    score = float(pixels.weights[members].mean()) * (0.5 + 0.5 * agree)
    return Cluster(members, centre, np.array([*low, *(edge + 1 for edge in high)]), score)


def _is_fragment(cluster: Cluster, larger: list[Cluster]) -> bool:
    """Whether it is a few disagreeing pixels inside somebody else, not a person behind them."""
    x0, y0, x1, y1 = cluster.box
    for other in larger:
        ox0, oy0, ox1, oy1 = other.box
        inside = max(0.0, min(x1, ox1) - max(x0, ox0)) * max(0.0, min(y1, oy1) - max(y0, oy0))
        few = len(cluster.members) < 0.04 * len(other.members)
        if few and inside > 0.8 * (x1 - x0) * (y1 - y0):
            return True
    return False
