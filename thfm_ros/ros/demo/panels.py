# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The demo's images: input, mask, skeletons and depth side by side. Independent of ROS."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float16, UInt8

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.media.drawing import depth_colours, draw_label, draw_skeleton
from thfm_ros.media.video_writer import VideoWriter, letterboxed

PANEL_SIDE = 640
MASK_COLOUR = np.array((40, 220, 200), np.float32)


@dataclass(frozen=True)
class AnnotatedFrame:
    """An image and its results, at the size of a panel; `Body` pixels are those of the panel."""

    stamp_ns: int
    latency_ms: float
    rgb: UInt8[np.ndarray, "h w 3"]
    labels: UInt8[np.ndarray, "h w"]  # 1 is a person
    depth: Float16[np.ndarray, "h w"]  # metres or relative; NaN: unknown
    bodies: tuple[Body, ...]


def panel_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a panel for images of this size; both even, as video codecs require."""
    scale = min(PANEL_SIDE / max(width, height), 2.0)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class DiskFrameBuffer:
    """Frames on disk, since a minute of them does not fit into the memory of a small machine.

    At most ``capacity`` frames are kept. When it is full, every second frame is dropped and from
    then on only every second frame is added, so that a long run becomes a time lapse.
    """

    def __init__(self, folder: Path, capacity: int = 1200) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="frames")  # noqa: SIM115
        self._capacity, self._stride, self._added = capacity, 1, 0
        self._kept: list[
            tuple[int, AnnotatedFrame]
        ] = []  # offset in the file; the arrays are placeholders

    def __len__(self) -> int:
        return len(self._kept)

    def strip_size(self) -> tuple[int, int]:
        """Width and height of four panels in a row, for the largest frame."""
        shapes = [frame.rgb.shape for _, frame in self._kept]
        return 4 * max(shape[1] for shape in shapes), max(shape[0] for shape in shapes)

    def add(self, frame: AnnotatedFrame) -> None:
        """Store the frame, unless it is skipped to save space."""
        self._added += 1
        if (self._added - 1) % self._stride:
            return
        offset = self._file.seek(0, 2)
        shapes = frame.rgb.shape, frame.labels.shape, frame.depth.shape
        for array in (frame.rgb, frame.labels, frame.depth.astype(np.float16)):
            self._file.write(np.ascontiguousarray(array).tobytes())
        rgb, labels, depth = (np.broadcast_to(np.uint8(0), shape) for shape in shapes)
        self._kept.append((offset, replace(frame, rgb=rgb, labels=labels, depth=depth)))
        if len(self._kept) > self._capacity:
            self._kept = self._kept[::2]
            self._stride *= 2

    def __iter__(self) -> Iterator[AnnotatedFrame]:
        for index in range(len(self._kept)):
            yield self[index]

    def __getitem__(self, index: int) -> AnnotatedFrame:
        """Read a frame back."""
        offset, frame = self._kept[index]
        self._file.seek(offset)
        return replace(
            frame,
            rgb=self._read(frame.rgb.shape, np.uint8),
            labels=self._read(frame.labels.shape, np.uint8),
            depth=self._read(frame.depth.shape, np.float16),
        )

    def _read(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(self._file.read(count), dtype).reshape(shape)

    def rate_hz(self) -> float:
        """Stored frames per second of recorded time, limited to 1..60."""
        stamps = [frame.stamp_ns for _, frame in self._kept]
        if len(stamps) < 2 or stamps[-1] <= stamps[0]:
            return 10.0
        return float(np.clip((len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0]), 1.0, 60.0))


@dataclass(frozen=True)
class PanelRenderer:
    """Draws frames; ``depth_range`` and ``metric`` are those of the whole run."""

    depth_range: tuple[float, float]
    metric: bool

    def render(self, frame: AnnotatedFrame) -> UInt8[np.ndarray, "h w4 3"]:
        """Input, mask, skeletons and depth in a row."""
        people = len(frame.bodies)
        near, far = self.depth_range
        scale = f"{near:.1f} to {far:.1f}" + (" m" if self.metric else " (no scale)")
        panels = (
            (f"input, {frame.latency_ms:.0f} ms", frame.rgb.copy()),
            ("mask", _mask_panel(frame)),
            (f"skeletons, {people} {'person' if people == 1 else 'people'}", _body_panel(frame)),
            (f"depth, {scale}", self._depth_panel(frame)),
        )
        return np.hstack([_titled(title, panel) for title, panel in panels])

    def _depth_panel(self, frame: AnnotatedFrame) -> UInt8[np.ndarray, "h w 3"]:
        depth = frame.depth.astype(np.float32)
        dim = (cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) * 0.3).astype(np.uint8)
        known = np.isfinite(depth)[..., None]
        return np.where(known, depth_colours(depth, *self.depth_range), dim[..., None])


def _mask_panel(frame: AnnotatedFrame) -> UInt8[np.ndarray, "h w 3"]:
    person = frame.labels == 1
    panel = frame.rgb * np.float32(0.4)
    panel[person] = 0.35 * frame.rgb[person] + 0.65 * MASK_COLOUR
    return np.asarray(panel, np.uint8)


def _body_panel(frame: AnnotatedFrame) -> UInt8[np.ndarray, "h w 3"]:
    panel = (frame.rgb * 0.6).astype(np.uint8)
    for body in frame.bodies:
        draw_skeleton(panel, body)
        draw_label(panel, body)
    return panel


def _titled(title: str, panel: np.ndarray) -> np.ndarray:
    panel[:22] = panel[:22] // 4
    cv2.putText(panel, title, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
    return panel


def depth_range(buffer: DiskFrameBuffer) -> tuple[float, float]:
    """The 1st and 99th percentile of depth over the whole run, the ends of the colour scale."""
    sampled = range(0, len(buffer), max(1, len(buffer) // 30))
    known = [depth[np.isfinite(depth)] for depth in (buffer[i].depth for i in sampled)]
    values = np.concatenate(known).astype(np.float32) if known else np.empty(0, np.float32)
    if values.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(values, (1, 99))
    return float(near), float(max(far, near + 1e-3))


def write_video(buffer: DiskFrameBuffer, renderer: PanelRenderer, path: Path) -> None:
    """Write all frames with their stamps; smaller ones are fitted into the size of the largest.

    Raises:
        PerceptionError: the file cannot be written.
    """
    size = buffer.strip_size()
    with VideoWriter(path, buffer.rate_hz()) as video:
        for frame in buffer:
            video.write(letterboxed(renderer.render(frame), size), frame.stamp_ns)


def write_contact_sheet(
    buffer: DiskFrameBuffer, renderer: PanelRenderer, path: Path, rows: int = 6
) -> None:
    """Write a contact sheet: ``rows`` frames, evenly spaced over the run, one below the other.

    Raises:
        PerceptionError: the file cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(buffer) - 1, min(rows, len(buffer))).round().astype(int))
    size = buffer.strip_size()
    strips = [letterboxed(renderer.render(buffer[int(index)]), size) for index in chosen]
    sheet = np.vstack(strips)[..., ::-1]
    width = min(1920, sheet.shape[1])
    size = (width, round(sheet.shape[0] * width / sheet.shape[1]))
    small = cv2.resize(np.ascontiguousarray(sheet), size, interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(path), small):
        raise PerceptionError(f"OpenCV cannot write {path}: is the disk full?")
