"""The demo's images: input, mask, skeletons and depth side by side. Knows no messages."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float16, UInt8

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.media.drawing import depth_colours, label, skeleton
from thfm_ros.media.video import VideoWriter, fitted

PANEL_SIDE = 640
MASK_COLOUR = np.array((40, 220, 200), np.float32)


@dataclass(frozen=True)
class Moment:
    """One image and all that was said about it; arrays and pixels are those of a panel."""

    stamp_ns: int
    latency_ms: float
    rgb: UInt8[np.ndarray, "h w 3"]
    labels: UInt8[np.ndarray, "h w"]  # 1 is a person
    depth: Float16[np.ndarray, "h w"]  # metres or relative; NaN unknown
    bodies: tuple[Body, ...]


def panel_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a panel for images of this size; both even, as codecs want."""
    scale = min(PANEL_SIDE / max(width, height), 2.0)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class Spool:
    """Moments on disk, since a minute of them does not fit into a small machine's memory.

    At most ``most`` are kept; beyond that every second one is dropped, again and again, so that
    a long run becomes a quicker film instead of an endless one.
    """

    def __init__(self, folder: Path, most: int = 1200) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="spool")  # noqa: SIM115
        self._most, self._stride, self._offered = most, 1, 0
        self._kept: list[tuple[int, Moment]] = []  # offset in the file; the arrays are empty

    def __len__(self) -> int:
        return len(self._kept)

    def strip_size(self) -> tuple[int, int]:
        """Width and height of four images in a row, for the largest of them."""
        shapes = [moment.rgb.shape for _, moment in self._kept]
        return 4 * max(shape[1] for shape in shapes), max(shape[0] for shape in shapes)

    def add(self, moment: Moment) -> None:
        """Keep it, if it is this one's turn."""
        self._offered += 1
        if (self._offered - 1) % self._stride:
            return
        offset = self._file.seek(0, 2)
        shapes = moment.rgb.shape, moment.labels.shape, moment.depth.shape
        for array in (moment.rgb, moment.labels, moment.depth.astype(np.float16)):
            self._file.write(np.ascontiguousarray(array).tobytes())
        rgb, labels, depth = (np.broadcast_to(np.uint8(0), shape) for shape in shapes)
        self._kept.append((offset, replace(moment, rgb=rgb, labels=labels, depth=depth)))
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._stride *= 2

    def __iter__(self) -> Iterator[Moment]:
        for index in range(len(self._kept)):
            yield self[index]

    def __getitem__(self, index: int) -> Moment:
        """The moment as it was added, read back."""
        offset, moment = self._kept[index]
        self._file.seek(offset)
        return replace(
            moment,
            rgb=self._read(moment.rgb.shape, np.uint8),
            labels=self._read(moment.labels.shape, np.uint8),
            depth=self._read(moment.depth.shape, np.float16),
        )

    def _read(self, shape: tuple[int, ...], kind: type) -> np.ndarray:
        count = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer(self._file.read(count), kind).reshape(shape)

    def rate_hz(self) -> float:
        """Moments per second of the recorded time, 1 to 60."""
        stamps = [moment.stamp_ns for _, moment in self._kept]
        if len(stamps) < 2 or stamps[-1] <= stamps[0]:
            return 10.0
        return float(np.clip((len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0]), 1.0, 60.0))


@dataclass(frozen=True)
class Painter:
    """Draws moments of one run."""

    depth_range: tuple[float, float]
    metric: bool

    def strip(self, moment: Moment) -> UInt8[np.ndarray, "h w4 3"]:
        """Input, mask, skeletons and depth in a row."""
        people = len(moment.bodies)
        near, far = self.depth_range
        scale = f"{near:.1f} to {far:.1f}" + (" m" if self.metric else " (no scale)")
        panels = (
            (f"input, {moment.latency_ms:.0f} ms", moment.rgb.copy()),
            ("mask", _mask_panel(moment)),
            (f"skeletons, {people} {'person' if people == 1 else 'people'}", _body_panel(moment)),
            (f"depth, {scale}", self._depth_panel(moment)),
        )
        return np.hstack([_titled(title, panel) for title, panel in panels])

    def _depth_panel(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        depth = moment.depth.astype(np.float32)
        dim = (cv2.cvtColor(moment.rgb, cv2.COLOR_RGB2GRAY) * 0.3).astype(np.uint8)
        known = np.isfinite(depth)[..., None]
        return np.where(known, depth_colours(depth, *self.depth_range), dim[..., None])


def _mask_panel(moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
    person = moment.labels == 1
    panel = moment.rgb * np.float32(0.4)
    panel[person] = 0.35 * moment.rgb[person] + 0.65 * MASK_COLOUR
    return np.asarray(panel, np.uint8)


def _body_panel(moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
    panel = (moment.rgb * 0.6).astype(np.uint8)
    for body in moment.bodies:
        skeleton(panel, body)
        label(panel, body)
    return panel


def _titled(title: str, panel: np.ndarray) -> np.ndarray:
    panel[:22] = panel[:22] // 4
    cv2.putText(panel, title, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
    return panel


def depth_range(spool: Spool) -> tuple[float, float]:
    """Nearest and farthest depth worth a colour, over the whole run."""
    few = range(0, len(spool), max(1, len(spool) // 30))
    known = [depth[np.isfinite(depth)] for depth in (spool[i].depth for i in few)]
    values = np.concatenate(known).astype(np.float32) if known else np.empty(0, np.float32)
    if values.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(values, (1, 99))
    return float(near), float(max(far, near + 1e-3))


def write_film(spool: Spool, painter: Painter, path: Path) -> None:
    """overlay.mp4; smaller images are fitted into the frame of the largest.

    Raises:
        PerceptionError: it cannot be written.
    """
    size = spool.strip_size()
    with VideoWriter(path, spool.rate_hz()) as film:
        for moment in spool:
            film.write(fitted(painter.strip(moment), size))


def write_contact_sheet(spool: Spool, painter: Painter, path: Path, rows: int = 6) -> None:
    """contact.png: moments spread evenly over the run, one below the other.

    Raises:
        PerceptionError: it cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(spool) - 1, min(rows, len(spool))).round().astype(int))
    size = spool.strip_size()
    strips = [fitted(painter.strip(spool[int(index)]), size) for index in chosen]
    sheet = np.vstack(strips)[..., ::-1]
    width = min(1920, sheet.shape[1])
    size = (width, round(sheet.shape[0] * width / sheet.shape[1]))
    small = cv2.resize(np.ascontiguousarray(sheet), size, interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(path), small):
        raise PerceptionError(f"OpenCV cannot write {path}: is the disk full?")
