"""The contact sheet: clips as rows, annotations as columns, to be looked at by people."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.skeleton import BONES, PART_NAMES
from thfm_ros.synth.generate import Order, make_clips
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.annotate import VISIBLE
from thfm_ros.synth.scene.asset_choices import choose

RgbImage = UInt8[np.ndarray, "h w 3"]
_COLOURS = np.random.default_rng(5).integers(60, 255, (len(PART_NAMES), 3)).astype(np.uint8)
_COLOURS[0] = 0


def write_sheet(orders: list[Order], path: Path) -> None:
    """Render the clips of some orders, other people in each, and write their sheet.

    Args:
        orders: what to render.
        path: ends in .png, .jpg or .jpeg.

    Raises:
        PerceptionError: the file is of no such kind, or cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):  # before minutes of work
        raise PerceptionError(f"--sheet {path} is no image; end it in .png or .jpg")
    rows = []
    for order in orders:
        choices = choose(load_pack(Path(order.pack)), order.split, order.striding)
        for clip in make_clips(replace(order, reuse=1), choices, range(order.clips)):
            rows.append(row(clip))
    width = max(strip.shape[1] for strip in rows)
    image = np.concatenate([_as_wide(strip, width) for strip in rows])
    options = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, code = cv2.imencode(path.suffix, image[..., ::-1], options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code.tobytes())
    except OSError as error:
        raise PerceptionError(
            f"{path} cannot be written ({error.strerror}); choose another --sheet"
        ) from error


def _as_wide(strip: RgbImage, width: int) -> RgbImage:
    """Crops are smaller than whole frames; a row of them is enlarged to the sheet's width."""
    height = round(strip.shape[0] * width / strip.shape[1])
    large = cv2.resize(strip, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.pad(large, ((0, 2), (0, 0), (0, 0)))


def row(clip: dict[str, np.ndarray]) -> RgbImage:
    """Three moments, then depth, normals, parts, dense pose, people and skeletons of the middle."""
    count = len(clip["rgb"])
    middle = count // 2
    moments = [clip["rgb"][index] for index in (0, middle, count - 1)]
    on_person = clip["instances"][middle, ..., None] > 0
    surface = (clip["surface"][middle].astype(np.int16) + 128).astype(np.uint8) * on_person
    columns = [
        *moments,
        depth_image(clip["depth_m"][middle].astype(np.float32)),
        (clip["normals"][middle].astype(np.int16) * [1, -1, -1] + 127)
        .clip(0, 255)
        .astype(np.uint8),
        _COLOURS[clip["parts"][middle]],
        surface,
        _COLOURS[clip["instances"][middle] % len(_COLOURS)],
        _skeletons(clip, middle),
    ]
    return np.concatenate(columns, axis=1)


def depth_image(depth_m: np.ndarray) -> RgbImage:
    """Near is red, far is blue, unknown is black; the scale fits the image."""
    known = depth_m > 0
    if not known.any():
        return np.zeros((*depth_m.shape, 3), np.uint8)
    low, high = np.percentile(depth_m[known], [1, 95])
    scaled = np.clip(255 * (1 - (depth_m - low) / max(float(high - low), 1e-3)), 15, 255)
    coloured = cv2.applyColorMap(scaled.astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.ascontiguousarray(coloured * known[..., None])


def _skeletons(clip: dict[str, np.ndarray], index: int) -> RgbImage:
    """Bones and joints over the darkened image: green visible, red hidden."""
    canvas = np.ascontiguousarray(clip["rgb"][index] // 2)
    for person in range(int(clip["people"][index])):
        points, seen = clip["keypoints2d"][index, person], clip["visibility"][index, person]
        for first, second in BONES:
            if seen[first] and seen[second]:
                ends = [tuple(int(v) for v in points[joint]) for joint in (first, second)]
                cv2.line(canvas, ends[0], ends[1], (120, 120, 60), 1)
        for point, state in zip(points, seen, strict=True):
            if state:
                colour = (0, 255, 0) if state == VISIBLE else (255, 60, 0)
                cv2.circle(canvas, (int(point[0]), int(point[1])), 1, colour, -1)
    return canvas
