# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm perceive`: run the pipeline on a video or a folder of images, and write perception.npz.

thfm_ros/media/recording.py describes the arrays of perception.npz. Every image of a folder is a
clip of its own.
"""

import argparse
import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from thfm_ros.config import config_from
from thfm_ros.config_text import add_set_option, settings_from
from thfm_ros.contract import Frame, Intrinsics, PerceptionError, Task
from thfm_ros.geometry import intrinsics_from_fov
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.media.drawing import DepthScale, side_by_side
from thfm_ros.media.errors import VideoError, shown
from thfm_ros.media.images import image_files, is_image_name, read_image, write_image
from thfm_ros.media.recording import Recording
from thfm_ros.media.reduction import reduced, reduced_size
from thfm_ros.media.video import Video, VideoFrame, same_size
from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.perception.frame_window import FrameWindow, config_for_rate

log = logging.getLogger(__name__)

OVERLAY = "overlay.mp4"
_PANEL_WIDTH = 640  # largest width of a panel of the overlay, pixels
_ANIMATED = (".gif",)  # read as a video, unless it lies in a folder of images


class FrameSource(Protocol):
    """Frames to perceive, oldest first; large ones are reduced (media/reduction.py)."""

    width: int  # of the widest frame, as it is perceived
    height: int  # of the highest frame, as it is perceived
    length: int  # 0: not known
    fps: float  # of the overlay
    one_clip: bool  # False: every frame is a clip of its own

    def __iter__(self) -> Iterator[VideoFrame]:
        """All frames, once."""


class ImageFolder:
    """Unrelated images, or a single one; those that cannot be read are logged and left out.

    Args:
        path: a folder, or an image file.

    Raises:
        VideoError: the folder has no image, or none of them can be read.
    """

    fps = 1.0
    one_clip = False

    def __init__(self, path: Path) -> None:
        self._readable: list[tuple[int, Path]] = []
        self.width = self.height = 0
        # All images are read twice: the largest size must be known before the first row is
        # written, and reading takes a tenth of the time of the pipeline.
        for index, file in enumerate(image_files(path) if path.is_dir() else [path]):
            try:
                rgb = read_image(file)
            except VideoError as error:
                log.warning("Left out: %s", error)
                continue
            self._readable.append((index, file))
            width, height = _size_perceived(file, rgb.shape[1], rgb.shape[0])
            self.height, self.width = max(self.height, height), max(self.width, width)
        self.length = len(self._readable)
        if not self._readable:
            raise VideoError(f"None of the images in {shown(path)} can be read.")

    def __iter__(self) -> Iterator[VideoFrame]:
        for index, file in self._readable:
            yield reduced(VideoFrame(read_image(file), index, index * 1_000_000_000, file.name))


class _VideoFile(Video):
    """A video as one clip, whose frames must have one size."""

    one_clip = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.width, self.height = _size_perceived(path, self.width, self.height)

    def __iter__(self) -> Iterator[VideoFrame]:
        return map(reduced, same_size(super().__iter__(), self.path))


def _size_perceived(path: Path, width: int, height: int) -> tuple[int, int]:
    """The size at which an image of this size is perceived; a reduction is logged."""
    size = reduced_size(width, height)
    if size != (width, height):
        text = "%s: %dx%d pixels are reduced to %dx%d; all results are in pixels of that size"
        log.warning(text, shown(path), width, height, *size)
    return size


def open_source(path: Path) -> FrameSource:
    """The frames of a video file, of an image file or of a folder of images.

    Raises:
        VideoError: it is neither, or nothing in it can be read.
    """
    is_image = path.is_file() and is_image_name(path) and path.suffix.lower() not in _ANIMATED
    return ImageFolder(path) if path.is_dir() or is_image else _VideoFile(path)


@dataclass(frozen=True)
class FocalLength:
    """What is known of the camera, if anything; without it nothing is metric."""

    hfov_deg: float | None = None  # horizontal field of view
    fx: float | None = None  # pixels

    def __post_init__(self) -> None:
        """Refuse values that no camera has."""
        if self.hfov_deg is not None and not 1 <= self.hfov_deg <= 170:
            raise PerceptionError(f"--hfov {self.hfov_deg:g}: give 1 to 170 degrees.")
        if self.fx is not None and not self.fx > 0:
            raise PerceptionError(f"--fx {self.fx:g}: give a focal length of more than 0 pixels.")

    def intrinsics(self, width: int, height: int, scale: float = 1.0) -> Intrinsics | None:
        """Intrinsics of an image of this size, principal point at its centre; None if unknown.

        ``scale`` is the factor by which the image of the camera was reduced.
        """
        if self.fx is not None:
            fx = self.fx * scale
            return Intrinsics(fx, fx, width / 2, height / 2, width, height)
        if self.hfov_deg is not None:
            return intrinsics_from_fov(width, height, self.hfov_deg)
        return None


def perceive(
    pipeline: Pipeline,
    source: FrameSource,
    out: Path,
    tasks: frozenset[Task],
    *,
    focal_length: FocalLength,
    overlay: bool = False,
    still: Path | None = None,
    max_frames: int = 0,
) -> int:
    """Run the pipeline on all frames and write ``out``/perception.npz.

    Frames that were perceived before an error or an interrupt are written, too.

    Args:
        pipeline: what perceives.
        source: the frames.
        out: folder of the results; made if it is missing.
        tasks: what to perceive.
        focal_length: of the camera.
        overlay: also write ``out``/overlay.mp4.
        still: also write the last frame's overlay into this image file.
        max_frames: stop after so many; 0: no limit.

    Returns:
        The number of frames.

    Raises:
        PerceptionError: the pipeline fails, or a file cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    recording = Recording(out / "perception.npz", source.width, source.height, tasks)
    config = pipeline.config.window
    window = FrameWindow(config_for_rate(config, source.fps) if source.one_clip else config)
    scale, left_out = DepthScale(), 0
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: recording.close() if len(recording) else recording.abandon())
        video = None
        if overlay:
            video = stack.enter_context(VideoWriter(out / OVERLAY, source.fps))
        for image in _with_progress(source, max_frames):
            if not source.one_clip:
                window.reset("another image")
            height, width = image.rgb.shape[:2]
            intrinsics = focal_length.intrinsics(width, height, image.scale)
            clip = window.push(Frame(image.rgb, image.stamp_ns, "camera", intrinsics))
            assert clip is not None  # the stamps of a source increase
            perception = pipeline.step(clip, tasks)
            recording.add(image.index, perception, image.scale)
            left_out = max(left_out, perception.left_out)
            if video or still:
                if not source.one_clip:
                    scale = DepthScale()
                panels = side_by_side(image.rgb, perception, scale, panel_width=_PANEL_WIDTH)
                if video:
                    video.write(panels, image.stamp_ns)
    if left_out:
        log.warning("up to %d people per frame are left out: see regions.max_people", left_out)
    if still and len(recording):
        write_image(still, panels)
    return len(recording)


def _with_progress(source: FrameSource, max_frames: int) -> Iterable[VideoFrame]:
    frames = itertools.islice(source, max_frames or None)
    total = min(filter(None, (source.length, max_frames)), default=None)
    bar: Iterable[VideoFrame] = tqdm(frames, total=total, unit="frame", disable=None)
    return bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm perceive`."""
    parser.add_argument("input", type=Path, help="a video, an image, or a folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--overlay", action="store_true", help="also write overlay.mp4")
    parser.add_argument(
        "--still", type=Path, metavar="PNG", help="also write the last frame's overlay as an image"
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--hfov", type=float, metavar="DEGREES", help="horizontal field of view")
    camera.add_argument("--fx", type=float, metavar="PIXELS", help="focal length")
    parser.add_argument(
        "--tasks", default="", help="comma-separated; default: all of the checkpoint"
    )
    parser.add_argument(
        "--max-frames", type=int, default=0, metavar="N", help="stop after N frames"
    )
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    add_set_option(
        parser, "any other parameter, e.g. engine.threads=2 (docs/parameters.md lists them)"
    )


def run(args: argparse.Namespace) -> int:
    """Perceive ``args.input`` and write the results into ``args.out``; 0.

    Raises:
        PerceptionError: an option is invalid, or a file cannot be read or written.
    """
    settings = {"engine.checkpoint": args.checkpoint, **settings_from(args.set)}
    config = config_from(settings)
    focal_length = FocalLength(args.hfov, args.fx)
    tasks = tasks_from(args.tasks) if args.tasks else None
    if args.overlay and args.input.resolve() == (args.out / OVERLAY).resolve():
        raise PerceptionError(
            f"{args.input} would be overwritten by its overlay: give another --out."
        )
    source = open_source(args.input)
    if focal_length == FocalLength():
        log.warning(
            "No focal length: nothing is metric, so depth_m and keypoints3d will be NaN. "
            "Give --fx, or --hfov (a webcam has about 60 degrees, a phone 65)."
        )
    pipeline = load_pipeline(config)
    card = pipeline.engine.card
    log.info("%s, %s", card.name, pipeline.engine.description)
    count = perceive(
        pipeline,
        source,
        args.out,
        tasks or frozenset(card.tasks),
        focal_length=focal_length,
        overlay=args.overlay,
        still=args.still,
        max_frames=args.max_frames,
    )
    log.info("%d frames are in %s", count, args.out / "perception.npz")
    return 0


def tasks_from(text: str) -> frozenset[Task]:
    """Tasks from their comma-separated names.

    Raises:
        PerceptionError: there is no task of such a name.
    """
    try:
        return frozenset(Task(name.strip()) for name in text.split(","))
    except ValueError as error:
        names = ", ".join(task.value for task in Task)
        raise PerceptionError(f"{error}; the tasks are {names}.") from error
