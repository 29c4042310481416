"""Joins image, mask, depth and bodies of one stamp into what the demo draws and shows."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from sensor_msgs.msg import Image

from thfm_ros.contract import Body, TrackState
from thfm_ros.msg import BodyArray
from thfm_ros.ros.demo.panels import Moment, Spool, panel_size

KEPT = 90  # images that wait for their results: three seconds of a usual camera


class LiveViewer(Protocol):
    """Shows moments while they happen."""

    def show(self, moment: Moment) -> None:
        """Show one."""


@dataclass
class _Pending:
    rgb: np.ndarray | None = None
    labels: np.ndarray | None = None
    depth: np.ndarray | None = None
    bodies: tuple[BodyArray, float] | None = None  # and how late they came, in ms


class Album:
    """Takes messages in any order; an image with all its results goes to the spool."""

    def __init__(self, folder: Path, viewer: LiveViewer | None = None) -> None:
        self.spool = Spool(folder)
        self._viewer = viewer
        self._pending: OrderedDict[tuple[int, int], _Pending] = OrderedDict()

    def image(self, message: Image) -> None:
        """An image of the camera, bgr8 or rgb8."""
        panel = _panel(_rows(message, np.uint8, 3), cv2.INTER_AREA)
        if message.encoding == "bgr8":
            panel = np.ascontiguousarray(panel[..., ::-1])
        self._put(message, "rgb", panel)

    def labels(self, message: Image) -> None:
        """The person mask."""
        self._put(message, "labels", _panel(_rows(message, np.uint8, 1), cv2.INTER_NEAREST))

    def depth(self, message: Image) -> None:
        """Metric or relative depth, 32FC1 or 16UC1."""
        if message.encoding == "16UC1":
            depth = _rows(message, np.uint16, 1) / np.float32(1000)
            depth[depth == 0] = np.nan
        else:
            depth = _rows(message, np.float32, 1)
        panel = _panel(depth, cv2.INTER_NEAREST).astype(np.float16)
        self._put(message, "depth", panel)

    def bodies(self, message: BodyArray, latency_ms: float) -> None:
        """The people of an image."""
        self._put(message, "bodies", (message, latency_ms))

    def _put(self, message: Any, what: str, value: Any) -> None:
        stamp = message.header.stamp
        pending = self._pending.setdefault((stamp.sec, stamp.nanosec), _Pending())
        setattr(pending, what, value)
        parts = (pending.rgb, pending.labels, pending.depth, pending.bodies)
        if all(part is not None for part in parts):
            self._keep(stamp.sec * 10**9 + stamp.nanosec, pending)
            del self._pending[stamp.sec, stamp.nanosec]
        while len(self._pending) > KEPT:
            self._pending.popitem(last=False)

    def _keep(self, stamp_ns: int, pending: _Pending) -> None:
        assert pending.rgb is not None and pending.labels is not None
        assert pending.depth is not None and pending.bodies is not None
        message, latency_ms = pending.bodies
        factor = pending.rgb.shape[1] / message.image_width
        moment = Moment(
            stamp_ns=stamp_ns,
            latency_ms=latency_ms,
            rgb=pending.rgb,
            labels=pending.labels,
            depth=pending.depth,
            bodies=tuple(_body(b, factor) for b in message.bodies if b.state == b.TRACKED),
        )
        self.spool.add(moment)
        if self._viewer is not None:
            self._viewer.show(moment)


def _panel(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    size = panel_size(pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation))


def _body(message: Any, factor: float) -> Body:
    """A message's body in pixels that are ``factor`` times the source's."""
    keypoints = np.array([(j.x, j.y, j.score) for j in message.joints], np.float32).reshape(-1, 3)
    keypoints[:, :2] *= factor
    places = [(j.position.x, j.position.y, j.position.z) for j in message.joints]
    return Body(
        id=message.id,
        state=TrackState.TRACKED,
        score=message.score,
        box=np.array(message.box, np.float32) * np.float32(factor),
        keypoints=keypoints,
        positions_m=np.array(places, np.float32).reshape(-1, 3),
        covariances_m2=np.array([j.covariance for j in message.joints], np.float32).reshape(-1, 6),
        root_m=np.array((message.root.x, message.root.y, message.root.z), np.float32),
        root_covariance_m2=np.array(message.root_covariance, np.float32),
    )


def _rows(message: Image, kind: type, channels: int) -> np.ndarray:
    """The pixels as a view of the message's bytes."""
    items: np.ndarray = np.frombuffer(message.data, kind).reshape(message.height, -1)
    shape = (message.height, message.width, channels)[: 3 if channels > 1 else 2]
    return items[:, : message.width * channels].reshape(shape)
