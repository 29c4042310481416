# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""perception.rrd: a recording for the viewer of Rerun."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thfm_ros.contract import Body, Perception, PerceptionError, TrackState
from thfm_ros.media.drawing import colour_of
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.results.temporary_file import TemporaryFile
from thfm_ros.skeleton import BONES

_PERSON = 1  # label in the mask
_JPEG_QUALITY = 80


class RrdResults:
    """A `ResultWriter` of perception.rrd: images (JPEG), masks, depth, skeletons in 2D and 3D.

    Args:
        path: of the file.
        camera: the topic, or the name of the film: the root of the paths in the recording.
        threshold: from which probability on a pixel of the mask is a person's.
        with_images: whether the camera's images are in it.

    Raises:
        PerceptionError: rerun-sdk is not installed.
    """

    def __init__(
        self, path: Path, camera: str, threshold: float, *, with_images: bool = True
    ) -> None:
        try:
            import rerun
        except ImportError as error:
            raise PerceptionError(
                "--format rrd needs Rerun: pip install 'thfm_ros[archive]'"
            ) from error
        self._rerun: Any = rerun
        self._file = TemporaryFile(path)
        self._root, self._threshold = camera.strip("/") or "camera", threshold
        self._with_images = with_images
        self._count = 0
        self._open = True
        self._stream = rerun.RecordingStream("thfm_ros")
        self._stream.save(self._file.temporary)
        log = self._stream.log
        log(f"{self._root}/people", rerun.ViewCoordinates.RDF, static=True)  # REP-103
        names = [rerun.AnnotationInfo(id=0, color=(0, 0, 0, 0))]
        names.append(rerun.AnnotationInfo(id=_PERSON, label="person", color=(40, 220, 200)))
        log(f"{self._root}/image/mask", rerun.AnnotationContext(names), static=True)

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Append one frame, at its stamp on the timeline "stamp"."""
        rerun, root, log = self._rerun, self._root, self._stream.log
        time = np.datetime64(perception.stamp_ns, "ns")
        self._stream.set_time("stamp", timestamp=time)
        self._stream.set_time("frame", sequence=frame.index)
        if self._with_images:
            image = rerun.EncodedImage(contents=_jpeg(frame.rgb), media_type="image/jpeg")
            log(f"{root}/image", image)
        if perception.mask is not None:
            labels = (perception.mask >= self._threshold).astype(np.uint8)
            log(f"{root}/image/mask", rerun.SegmentationImage(labels))
        depth = perception.depth_m if perception.depth_m is not None else perception.depth_relative
        if depth is not None:
            log(f"{root}/depth", rerun.DepthImage(depth.astype(np.float32), meter=1.0))
        for entity in (f"{root}/people", f"{root}/image/people"):
            log(entity, rerun.Clear(recursive=True))
        for body in perception.bodies:
            if body.state is not TrackState.LOST:
                self._log_body(body)
        self._count += 1

    def close(self) -> None:
        """Write the file."""
        self._finish()
        if self._count:
            self._file.complete()
        self._file.abandon()

    def abandon(self) -> None:
        """Write nothing."""
        self._finish()
        self._file.abandon()

    def _finish(self) -> None:
        if self._open:
            self._open = False
            self._stream.flush()
            self._stream.disconnect()

    def _log_body(self, body: Body) -> None:
        rerun, colour = self._rerun, colour_of(body.id)
        bones = _bones(body.keypoints[:, :2])
        strips = rerun.LineStrips2D(bones, colors=colour, labels=[body.id])
        self._stream.log(f"{self._root}/image/people/{body.id}", strips)
        if np.isfinite(body.positions_m).any():
            lines = rerun.LineStrips3D(_bones(body.positions_m), colors=colour, radii=0.015)
            self._stream.log(f"{self._root}/people/{body.id}", lines)


def _jpeg(rgb: np.ndarray) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), options)
    return bytes(data.tobytes())


def _bones(points: np.ndarray) -> list[np.ndarray]:
    """The end points (2 x d) of the bones whose both ends are known; ``points`` is k x d."""
    known = np.isfinite(points).all(axis=1)
    return [points[[a, b]] for a, b in BONES if known[a] and known[b]]
