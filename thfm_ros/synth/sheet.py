# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The contact sheet: clips as rows, frames and labels as columns."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.skeleton import BONES, PART_NAMES
from thfm_ros.synth.generate import DatasetConfig, make_clips
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.annotate import VISIBLE
from thfm_ros.synth.scene.asset_choices import choose_assets

RgbImage = UInt8[np.ndarray, "h w 3"]
_LABEL_COLOURS = np.random.default_rng(5).integers(60, 255, (len(PART_NAMES), 3)).astype(np.uint8)
_LABEL_COLOURS[0] = 0


def write_sheet(configs: list[DatasetConfig], path: Path) -> None:
    """Render clips, each with other people, and write them as a contact sheet.

    Args:
        configs: data sets whose clips are rendered.
        path: ends in .png, .jpg or .jpeg.

    Raises:
        PerceptionError: the file has another ending, or cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):  # before minutes of rendering
        raise PerceptionError(f"--sheet {path}: the name must end in .png, .jpg or .jpeg")
    rows = []
    for config in configs:
        choices = choose_assets(load_pack(Path(config.pack)), config.split, config.striding)
        for clip in make_clips(replace(config, clips_per_group=1), choices, range(config.clips)):
            rows.append(row(clip))
    width = max(strip.shape[1] for strip in rows)
    image = np.concatenate([_widened(strip, width) for strip in rows])
    options = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, code = cv2.imencode(path.suffix, image[..., ::-1], options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code.tobytes())
    except OSError as error:
        raise PerceptionError(
            f"{path} cannot be written ({error.strerror}); choose another --sheet"
        ) from error


def _widened(strip: RgbImage, width: int) -> RgbImage:
    """Enlarge a row to the sheet's width: crops are smaller than whole frames."""
    height = round(strip.shape[0] * width / strip.shape[1])
    large = cv2.resize(strip, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.pad(large, ((0, 2), (0, 0), (0, 0)))


def row(clip: dict[str, np.ndarray]) -> RgbImage:
    """Three frames of a clip, then the labels of the middle frame.

    Columns: depth, normals, body parts, dense-pose UV, instances, skeletons.
    """
    count = len(clip["rgb"])
    middle = count // 2
    frames = [clip["rgb"][index] for index in (0, middle, count - 1)]
    on_person = clip["instances"][middle, ..., None] > 0
    dense_pose_uv = (clip["dense_pose_uv"][middle].astype(np.int16) + 128).astype(np.uint8)
    columns = [
        *frames,
        depth_image(clip["depth_m"][middle].astype(np.float32)),
        (clip["normals"][middle].astype(np.int16) * [1, -1, -1] + 127)
        .clip(0, 255)
        .astype(np.uint8),
        _LABEL_COLOURS[clip["parts"][middle]],
        dense_pose_uv * on_person,
        _LABEL_COLOURS[clip["instances"][middle] % len(_LABEL_COLOURS)],
        _skeletons(clip, middle),
    ]
    return np.concatenate(columns, axis=1)


def depth_image(depth_m: np.ndarray) -> RgbImage:
    """Depth in colours: near is red, far is blue, unknown is black; scaled to the image."""
    known = depth_m > 0
    if not known.any():
        return np.zeros((*depth_m.shape, 3), np.uint8)
    low, high = np.percentile(depth_m[known], [1, 95])
    scaled = np.clip(255 * (1 - (depth_m - low) / max(float(high - low), 1e-3)), 15, 255)
    coloured = cv2.applyColorMap(scaled.astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.ascontiguousarray(coloured * known[..., None])


def _skeletons(clip: dict[str, np.ndarray], index: int) -> RgbImage:
    """Bones and joints over the darkened image: visible joints green, hidden ones red."""
    canvas = np.ascontiguousarray(clip["rgb"][index] // 2)
    for person in range(int(clip["people"][index])):
        points, states = clip["keypoints2d"][index, person], clip["visibility"][index, person]
        for first, second in BONES:
            if states[first] and states[second]:
                ends = [tuple(int(v) for v in points[joint]) for joint in (first, second)]
                cv2.line(canvas, ends[0], ends[1], (120, 120, 60), 1)
        for point, state in zip(points, states, strict=True):
            if state:
                colour = (0, 255, 0) if state == VISIBLE else (255, 60, 0)
                cv2.circle(canvas, (int(point[0]), int(point[1])), 1, colour, -1)
    return canvas
