"""Telling people apart: every person pixel votes for the centre of its person.

A vote is (centre - pixel) / longer side of the person's box, so for the pixels of one person it
falls linearly across the picture and a straight-line fit gives both centre and side. Blobs of
the mask are fitted one by one, split where the votes end in several places, and joined where
separate pieces (somebody behind a pole) agree on one. Units here are cells of the map; the centre
of the first is (0.5, 0.5).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

_ROUNDS = 3  # what a fit leaves over is looked at again, so often
_SPLIT_BLUR = 0.08  # of the side: votes' ends nearer than this are one peak
_PEAK_DISTANCE = 0.2  # of the side: shoulders make two people at least this far apart
_PEAK_SHARE = 0.2  # a second peak has at least this share of the first
_VALLEY = 0.75  # and between them the density falls below this share of the lower


@dataclass(frozen=True, slots=True)
class Cluster:
    """The pixels of one person, by their indices into the list of all mask pixels."""

    members: Int[np.ndarray, " n"]
    centre: Float[np.ndarray, "2"]  # where the votes end: x, y
    side: float  # longer side of the person's box as the votes tell it
    box: Float[np.ndarray, "4"]  # of the pixels: x_min, y_min, x_max, y_max
    score: float  # 0..1: mean mask probability, times how well the votes agree


@dataclass(frozen=True, slots=True)
class _Pixels:
    places: Float[np.ndarray, "n 2"]
    votes: Float[np.ndarray, "n 2"]
    weights: Float[np.ndarray, " n"]


def people_from_votes(
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
    numbers = np.full(mask.shape, -1)
    pixels, rows, columns = _pixels(mask, votes, threshold)
    found: list[Int[np.ndarray, " n"]] = []
    waiting = np.arange(len(rows))
    for turn in range(_ROUNDS):
        left: list[Int[np.ndarray, " n"]] = []
        for blob in _blobs(mask.shape, rows, columns, waiting, clean=turn > 0):
            people, rest = _people_of_blob(pixels, blob, radius, last=turn == _ROUNDS - 1)
            found += people
            left.append(rest)
        waiting = np.concatenate(left) if left else waiting[:0]
        if len(waiting) < max(4.0, min_side):
            break
    clusters = [_cluster(pixels, members, radius) for members in _joined(pixels, found, radius)]
    clusters = [each for each in clusters if _longer_side(each.box) >= min_side]
    clusters.sort(key=lambda each: -len(each.members))
    clusters = [each for i, each in enumerate(clusters) if not _crumb(each, clusters[:i])]
    for number, each in enumerate(clusters):
        numbers[rows[each.members], columns[each.members]] = number
    return clusters, numbers


def _pixels(
    mask: Float32[np.ndarray, "h w"], votes: Float32[np.ndarray, "2 h w"], threshold: float
) -> tuple[_Pixels, Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The pixels of people, with votes averaged over the neighbours that are people too."""
    here = (mask > threshold).astype(np.float32)
    rows, columns = np.nonzero(here)
    count = cv2.boxFilter(here, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    sums = [
        cv2.boxFilter(each * here, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for each in votes
    ]
    smooth = np.stack([each[rows, columns] for each in sums], 1) / count[rows, columns, None]
    places = np.stack([columns, rows], 1) + 0.5
    weights = mask[rows, columns].astype(np.float64)
    return _Pixels(places, smooth.astype(np.float64), weights), rows, columns


def _blobs(
    shape: tuple[int, ...],
    rows: Int[np.ndarray, " n"],
    columns: Int[np.ndarray, " n"],
    chosen: Int[np.ndarray, " m"],
    clean: bool,
) -> list[Int[np.ndarray, " b"]]:
    """The connected pieces of the chosen pixels, as indices; ``clean`` drops what is scattered."""
    picture = np.zeros(shape, np.uint8)
    picture[rows[chosen], columns[chosen]] = 1
    if clean:
        picture = cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        chosen = chosen[picture[rows[chosen], columns[chosen]] > 0]
        if not len(chosen):
            return []
    count, labels = cv2.connectedComponents(picture, connectivity=8)
    if count == 2:
        return [chosen]
    label = labels[rows[chosen], columns[chosen]]
    order = np.argsort(label, kind="stable")
    pieces = np.split(chosen[order], np.flatnonzero(np.diff(label[order])) + 1)
    return [piece for piece in pieces if len(piece) >= 4]


def _fit(pixels: _Pixels, members: Int[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "2"], float]:
    """Centre and side that explain the votes of ``members`` best, in least squares."""
    place, vote = pixels.places[members], pixels.votes[members]
    weight = pixels.weights[members] / pixels.weights[members].sum()
    mean_place, mean_vote = weight @ place, weight @ vote
    across = place - mean_place
    spread = float(weight @ (across**2).sum(1))
    slope = -float(weight @ (across * (vote - mean_vote)).sum(1)) / max(spread, 1e-9)
    longer = float(np.ptp(place, axis=0).max()) + 1
    # A piece of somebody says little about the whole; votes that say nothing have no slope.
    side = float(np.clip(1 / slope, 0.6 * longer, 5 * longer)) if slope > 1e-6 else longer
    return mean_place + side * mean_vote, side


def _misses(
    pixels: _Pixels, members: Int[np.ndarray, " n"], centre: Float[np.ndarray, "2"], side: float
) -> Float[np.ndarray, " n"]:
    """How far, in sides, the votes of ``members`` end from ``centre``."""
    ends = pixels.places[members] + side * pixels.votes[members]
    return np.asarray(np.hypot(*(ends - centre).T) / side)


def _people_of_blob(
    pixels: _Pixels, blob: Int[np.ndarray, " n"], radius: float, last: bool
) -> tuple[list[Int[np.ndarray, " m"]], Int[np.ndarray, " r"]]:
    """Members of each person in one blob, and the pixels that fit nobody."""
    people: list[Int[np.ndarray, " m"]] = []
    rest = [blob[:0]]
    for group in _split(pixels, blob, _local_side(pixels, blob)):
        members = group
        for _ in range(2):
            near = _misses(pixels, group, *_fit(pixels, members)) <= radius
            if near.sum() < 4:
                break
            members = group[near]
        if len(members) < 0.5 * len(group) or last:
            # Votes that contradict each other tell nobody apart: the blob is the person.
            members = group
        people.append(members)
        rest.append(np.setdiff1d(group, members, assume_unique=True))
    return people, np.concatenate(rest)


def _local_side(pixels: _Pixels, blob: Int[np.ndarray, " n"]) -> float:
    """The side as neighbouring pixels tell it: right even where a blob is several people.

    Between two pixels of one person the vote changes by distance / side; pairs that belong to
    two people are outliers of the median.
    """
    cell = pixels.places[blob].astype(int)
    low, (width, height) = cell.min(axis=0), np.ptp(cell, axis=0) + 1
    column, row = (cell - low).T
    votes = np.full((2, height, width), np.nan)
    votes[:, row, column] = pixels.votes[blob].T
    longer = max(width, height)
    lag = max(1, round(longer / 8))
    falls = [
        votes[0, :, :-lag] - votes[0, :, lag:] if width > lag else votes[0, :0],
        votes[1, :-lag] - votes[1, lag:] if height > lag else votes[1, :0],
    ]
    fall = np.concatenate([each[np.isfinite(each)] for each in falls])
    slope = float(np.median(fall)) / lag if len(fall) else 0.0
    return float(np.clip(1 / slope, 0.15 * longer, 5 * longer)) if slope > 1e-6 else float(longer)


def _split(
    pixels: _Pixels, blob: Int[np.ndarray, " n"], side: float
) -> list[Int[np.ndarray, " m"]]:
    """Sort a blob's pixels by the place where their votes end, if there are several."""
    ends = pixels.places[blob] / side + pixels.votes[blob]
    cell = _SPLIT_BLUR / 2
    low = np.quantile(ends, 0.02, axis=0) - 3 * _SPLIT_BLUR
    high = np.quantile(ends, 0.98, axis=0) + 3 * _SPLIT_BLUR
    width, height = (int(n) + 1 for n in np.minimum(high - low, 8.0) / cell)
    column, row = np.clip(((ends - low) / cell).astype(int), 0, [width - 1, height - 1]).T
    density = np.bincount(row * width + column, pixels.weights[blob], width * height)
    smooth = density.reshape(height, width).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), _SPLIT_BLUR / cell, borderType=cv2.BORDER_CONSTANT)
    peaks = _peaks(smooth, _PEAK_DISTANCE / cell)
    if len(peaks) == 1:
        return [blob]
    distance = np.hypot(row[:, None] - peaks[:, 0], column[:, None] - peaks[:, 1])
    owner = distance.argmin(axis=1)
    if not _coherent(pixels.places[blob], owner):
        return [blob]
    return [blob[owner == number] for number in range(len(peaks)) if (owner == number).sum() >= 4]


def _coherent(places: Float[np.ndarray, "n 2"], owner: Int[np.ndarray, " n"]) -> bool:
    """Whether neighbours mostly belong together: people are patches, noise is pepper."""
    cell = places.astype(int)
    column, row = (cell - cell.min(axis=0)).T
    picture = np.full((row.max() + 1, column.max() + 1), np.nan)
    picture[row, column] = owner
    down, right = np.diff(picture, axis=0), np.diff(picture, axis=1)
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
    """Join the pieces of one person: the larger piece's votes explain the smaller's pixels."""
    wholes: list[Int[np.ndarray, " m"]] = []
    for piece in sorted(people, key=len, reverse=True):
        for number, whole in enumerate(wholes):
            centre, side = _fit(pixels, whole)
            fits: Bool[np.ndarray, " n"] = _misses(pixels, piece, centre, side) < radius / 2
            if fits.mean() > 0.7:
                wholes[number] = np.concatenate([whole, piece])
                break
        else:
            wholes.append(piece)
    return wholes


def _cluster(pixels: _Pixels, members: Int[np.ndarray, " n"], radius: float) -> Cluster:
    centre, side = _fit(pixels, members)
    agree = float((_misses(pixels, members, centre, side) <= radius).mean())
    place = pixels.places[members]
    # A few stray pixels must not stretch the box: one in a hundred may stay outside each edge.
    low, high = np.quantile(place, [0.01, 0.99], axis=0)
    box = np.array([*(low - 0.5), *(high + 0.5)])
    score = float(pixels.weights[members].mean()) * (0.5 + 0.5 * agree)
    return Cluster(members, centre, side, box, score)


def _crumb(cluster: Cluster, larger: list[Cluster]) -> bool:
    """Whether it is a few disagreeing pixels inside somebody else, not a person behind them."""
    x0, y0, x1, y1 = cluster.box
    for other in larger:
        ox0, oy0, ox1, oy1 = other.box
        inside = max(0.0, min(x1, ox1) - max(x0, ox0)) * max(0.0, min(y1, oy1) - max(y0, oy0))
        few = len(cluster.members) < 0.08 * len(other.members)
        if few and inside > 0.8 * (x1 - x0) * (y1 - y0):
            return True
    return False


def _longer_side(box: Float[np.ndarray, "4"]) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))
