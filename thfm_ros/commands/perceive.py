"""`thfm perceive`: a video or a folder of images in, perception.npz (and an overlay) out.

The keys of perception.npz are described in recording.py. In a folder every image is a clip of
its own.
"""

import argparse
import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from thfm_ros.config import WindowConfig, config_from
from thfm_ros.config_text import settings_from
from thfm_ros.contract import Frame, Intrinsics, PerceptionError, Task
from thfm_ros.geometry import with_field_of_view
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.media.drawing import DepthScale, side_by_side
from thfm_ros.media.recording import Recording
from thfm_ros.media.video import (
    Video,
    VideoError,
    VideoFrame,
    VideoWriter,
    image_files,
    read_image,
    write_image,
)
from thfm_ros.perception.frame_window import FrameWindow

log = logging.getLogger(__name__)

OVERLAY = "overlay.mp4"
_PANEL = 640  # widest panel of the overlay, pixels


class Source(Protocol):
    """Frames to perceive, oldest first."""

    width: int  # of the largest frame
    height: int
    length: int  # 0: not known
    fps: float  # of the overlay
    one_clip: bool  # False: every frame is a clip of its own

    def __iter__(self) -> Iterator[VideoFrame]:
        """All frames, once."""


class Folder:
    """Unrelated images; broken ones are named in the log and left out."""

    fps = 1.0
    one_clip = False

    def __init__(self, path: Path) -> None:
        self._good: list[tuple[int, Path]] = []
        self.width = self.height = 0
        # Everything is read twice: the largest size must be known before the first row is
        # written, and reading costs a tenth of perceiving.
        for index, file in enumerate(image_files(path)):
            rgb = read_image(file)
            if rgb is None:
                log.warning("%s is broken or no image: left out", file)
                continue
            self._good.append((index, file))
            self.height, self.width = max(self.height, rgb.shape[0]), max(self.width, rgb.shape[1])
        self.length = len(self._good)
        if not self._good:
            raise VideoError(f"None of the images in {path} can be read.")

    def __iter__(self) -> Iterator[VideoFrame]:
        for index, file in self._good:
            rgb = read_image(file)
            if rgb is not None:
                yield VideoFrame(rgb, index, index * 1_000_000_000, file.name)


class _Clip(Video):
    """A video, seen as one clip."""

    one_clip = True


def source_of(path: Path) -> Source:
    """The frames of a video file or of a folder of images.

    Raises:
        VideoError: it is neither, or nothing in it can be read.
    """
    return Folder(path) if path.is_dir() else _Clip(path)


@dataclass(frozen=True)
class Lens:
    """What is known of the camera; with neither, nothing is metric."""

    hfov_deg: float | None = None
    fx: float | None = None  # pixels

    def __post_init__(self) -> None:
        """Refuse what no lens has."""
        if self.hfov_deg is not None and not 1 <= self.hfov_deg <= 170:
            raise PerceptionError(f"--hfov {self.hfov_deg:g}: give 1 to 170 degrees.")
        if self.fx is not None and not self.fx > 0:
            raise PerceptionError(f"--fx {self.fx:g}: a focal length is more than 0 pixels.")

    def camera(self, width: int, height: int) -> Intrinsics | None:
        """Intrinsics of an image of this size, its axis in the middle."""
        if self.fx is not None:
            return Intrinsics(self.fx, self.fx, width / 2, height / 2, width, height)
        if self.hfov_deg is not None:
            return with_field_of_view(width, height, self.hfov_deg)
        return None


def perceive(
    pipeline: Pipeline,
    source: Source,
    out: Path,
    tasks: frozenset[Task],
    *,
    lens: Lens,
    overlay: bool = False,
    still: Path | None = None,
    max_frames: int = 0,
) -> int:
    """Write ``out``/perception.npz and, if asked for, ``out``/overlay.mp4 and an image.

    The image shows what the overlay shows of the last frame. What was perceived before an error
    or an interrupt is written too. Returns the number of frames.
    """
    out.mkdir(parents=True, exist_ok=True)
    recording = Recording(out / "perception.npz", source.width, source.height, tasks)
    window = FrameWindow(_window_for(pipeline.config.window, source))
    scale = DepthScale()
    with contextlib.ExitStack() as finally_:
        finally_.callback(lambda: recording.close() if len(recording) else recording.abandon())
        video = None
        if overlay:
            video = finally_.enter_context(VideoWriter(out / OVERLAY, source.fps))
        for image in _with_progress(source, max_frames):
            if not source.one_clip:
                window.reset("another image")
            height, width = image.rgb.shape[:2]
            camera = lens.camera(width, height)
            clip = window.push(Frame(image.rgb, image.stamp_ns, "camera", camera))
            assert clip is not None  # stamps of videos and folders always rise
            seen = pipeline.step(clip, tasks)
            recording.add(image.index, seen)
            if video or still:
                if not source.one_clip:
                    scale = DepthScale()
                panels = side_by_side(image.rgb, seen, scale, panel_width=_PANEL)
                if video:
                    video.write(panels)
    if still and len(recording):
        write_image(still, panels)
    return len(recording)


def _window_for(config: WindowConfig, source: Source) -> WindowConfig:
    """The gap between two frames of a slow film is no hole in it."""
    if not source.one_clip:
        return config
    return replace(config, max_gap_s=max(config.max_gap_s, 1.5 / source.fps))


def _with_progress(source: Source, max_frames: int) -> Iterable[VideoFrame]:
    frames = itertools.islice(source, max_frames or None)
    total = min(filter(None, (source.length, max_frames)), default=None)
    bar: Iterable[VideoFrame] = tqdm(frames, total=total, unit="frame", disable=None)
    return bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm perceive`."""
    parser.add_argument("input", type=Path, help="a video, or a folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--overlay", action="store_true", help="also write overlay.mp4")
    parser.add_argument(
        "--still", type=Path, metavar="PNG", help="also write the last frame's overlay as an image"
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--hfov", type=float, metavar="DEGREES", help="horizontal field of view")
    camera.add_argument("--fx", type=float, metavar="PIXELS", help="focal length")
    parser.add_argument("--tasks", default="", help="comma-separated; default: all there are")
    parser.add_argument("--max-frames", type=int, default=0, metavar="N", help="stop after N")
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter, e.g. engine.threads=2 (docs/parameters.md lists them)",
    )


def run(args: argparse.Namespace) -> int:
    """Perceive ``args.input`` into ``args.out``."""
    settings = {"engine.checkpoint": args.checkpoint, **settings_from(args.set)}
    config = config_from(settings)
    lens = Lens(args.hfov, args.fx)
    asked = tasks_from(args.tasks) if args.tasks else None
    if args.overlay and args.input.resolve() == (args.out / OVERLAY).resolve():
        raise PerceptionError(f"{args.input} would be overwritten by its overlay: another --out.")
    source = source_of(args.input)
    if lens == Lens():
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
        asked or frozenset(card.tasks),
        lens=lens,
        overlay=args.overlay,
        still=args.still,
        max_frames=args.max_frames,
    )
    log.info("%d frames are in %s", count, args.out / "perception.npz")
    return 0


def tasks_from(text: str) -> frozenset[Task]:
    """Tasks from their names, with commas between them."""
    try:
        return frozenset(Task(name.strip()) for name in text.split(","))
    except ValueError as error:
        names = ", ".join(task.value for task in Task)
        raise PerceptionError(f"{error}; the tasks are {names}.") from error
