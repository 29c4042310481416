# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Synchronizes image, mask, depth and bodies by their stamp into frames that are drawn."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from sensor_msgs.msg import Image

from thfm_ros.contract import Body, TrackState
from thfm_ros.msg import BodyArray
from thfm_ros.ros.demo.panels import AnnotatedFrame, DiskFrameBuffer, panel_size

MAX_PENDING = 90  # frames that wait for results: three seconds of a camera at 30 Hz


class LiveViewer(Protocol):
    """Shows frames during the run."""

    def show(self, frame: AnnotatedFrame) -> None:
        """Show one frame."""


@dataclass
class _PendingFrame:
    rgb: np.ndarray | None = None
    labels: np.ndarray | None = None
    depth: np.ndarray | None = None
    bodies: tuple[BodyArray, float] | None = None  # and their latency in ms


class StampSynchronizer:
    """Takes messages in any order; a frame with image, mask, depth and bodies goes to `buffer`.

    Args:
        folder: where the buffer keeps its file.
        viewer: also gets each complete frame; None: no viewer.
    """

    def __init__(self, folder: Path, viewer: LiveViewer | None = None) -> None:
        self.buffer = DiskFrameBuffer(folder)
        self._viewer = viewer
        self._pending: OrderedDict[tuple[int, int], _PendingFrame] = OrderedDict()

    def add_image(self, message: Image) -> None:
        """Add an image of the camera, bgr8 or rgb8."""
        panel = _panel(_pixels(message, np.uint8, 3), cv2.INTER_AREA)
        if message.encoding == "bgr8":
            panel = np.ascontiguousarray(panel[..., ::-1])
        self._put(message, "rgb", panel)

    def add_labels(self, message: Image) -> None:
        """Add the person mask, mono8 labels."""
        self._put(message, "labels", _panel(_pixels(message, np.uint8, 1), cv2.INTER_NEAREST))

    def add_depth(self, message: Image) -> None:
        """Add metric or relative depth, 32FC1 (metres) or 16UC1 (millimetres)."""
        if message.encoding == "16UC1":
            depth = _pixels(message, np.uint16, 1) / np.float32(1000)
            depth[depth == 0] = np.nan
        else:
            depth = _pixels(message, np.float32, 1)
        panel = _panel(depth, cv2.INTER_NEAREST).astype(np.float16)
        self._put(message, "depth", panel)

    def add_bodies(self, message: BodyArray, latency_ms: float) -> None:
        """Add the people of an image; those who are lost or not confirmed are not drawn."""
        self._put(message, "bodies", (message, latency_ms))

    def _put(self, message: Any, field: str, value: Any) -> None:
        stamp = message.header.stamp
        pending = self._pending.setdefault((stamp.sec, stamp.nanosec), _PendingFrame())
        setattr(pending, field, value)
        fields = (pending.rgb, pending.labels, pending.depth, pending.bodies)
        if all(value is not None for value in fields):
            self._complete(stamp.sec * 10**9 + stamp.nanosec, pending)
            del self._pending[stamp.sec, stamp.nanosec]
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)

    def _complete(self, stamp_ns: int, pending: _PendingFrame) -> None:
        """Hand a complete frame to the buffer and the viewer."""
        assert pending.rgb is not None and pending.labels is not None
        assert pending.depth is not None and pending.bodies is not None
        message, latency_ms = pending.bodies
        factor = pending.rgb.shape[1] / message.image_width
        frame = AnnotatedFrame(
            stamp_ns=stamp_ns,
            latency_ms=latency_ms,
            rgb=pending.rgb,
            labels=pending.labels,
            depth=pending.depth,
            bodies=tuple(
                _body(each, factor)
                for each in message.bodies
                if each.state in (each.TRACKED, each.PREDICTED)
            ),
        )
        self.buffer.add(frame)
        if self._viewer is not None:
            self._viewer.show(frame)


def _panel(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    size = panel_size(pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation))


def _body(message: Any, factor: float) -> Body:
    """A message's body, its pixel coordinates multiplied by ``factor``."""
    keypoints = np.array([(j.x, j.y, j.score) for j in message.joints], np.float32).reshape(-1, 3)
    keypoints[:, :2] *= factor
    positions = [(j.position.x, j.position.y, j.position.z) for j in message.joints]
    return Body(
        id=message.id,
        state=(TrackState.TRACKED if message.state == message.TRACKED else TrackState.PREDICTED),
        score=message.score,
        box=np.array(message.box, np.float32) * np.float32(factor),
        keypoints=keypoints,
        positions_m=np.array(positions, np.float32).reshape(-1, 3),
        covariances_m2=np.array([j.covariance for j in message.joints], np.float32).reshape(-1, 6),
        root_m=np.array((message.root.x, message.root.y, message.root.z), np.float32),
        root_covariance_m2=np.array(message.root_covariance, np.float32),
        velocity_m_s=np.array(
            (message.velocity.x, message.velocity.y, message.velocity.z), np.float32
        ),
        velocity_covariance=np.array(message.velocity_covariance, np.float32),
        measurement_age_s=message.measurement_age,
    )


def _pixels(message: Image, dtype: type, channels: int) -> np.ndarray:
    """The pixels as a view of the message's bytes."""
    rows: np.ndarray = np.frombuffer(message.data, dtype).reshape(message.height, -1)
    shape = (message.height, message.width, channels)[: 3 if channels > 1 else 2]
    return rows[:, : message.width * channels].reshape(shape)
