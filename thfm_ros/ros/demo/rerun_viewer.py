# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The demo in Rerun: images, masks, depth and 3D skeletons on one timeline."""

import logging
import os
from typing import Any
from urllib.parse import quote

import numpy as np

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.media.drawing import colour_of
from thfm_ros.ros.demo.panels import AnnotatedFrame
from thfm_ros.ros.to_msg.images import UNLABELLED
from thfm_ros.skeleton import BONES

logger = logging.getLogger("demo")


class RerunViewer:
    """Rerun in a window where there is a display, else as a page for a browser.

    Raises:
        PerceptionError: Rerun is not installed.
    """

    def __init__(self) -> None:
        try:
            import rerun
        except ImportError as error:
            raise PerceptionError(
                "Rerun is not installed (about 600 MB): pip install 'rerun-sdk>=0.24', or let "
                "./demo.sh --viewer rerun install it."
            ) from error
        self._rerun = rerun
        rerun.init("thfm_ros")
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            rerun.spawn(memory_limit="1GB", default_blueprint=_layout(rerun.blueprint))
        else:
            layout = _layout(rerun.blueprint)
            server = rerun.serve_grpc(server_memory_limit="1GB", default_blueprint=layout)
            rerun.serve_web_viewer(open_browser=False, connect_to=server)
            page = f"http://localhost:9090/?url={quote(server, safe='')}"
            logger.info("No display found: while the demo runs, Rerun is at %s", page)
        rerun.log("people", rerun.ViewCoordinates.RDF, static=True)  # optical frame of REP-103
        # Labels without a given colour get one from Rerun, which would tint the whole image.
        names = [rerun.AnnotationInfo(id=label, color=(0, 0, 0, 0)) for label in (0, UNLABELLED)]
        names.append(rerun.AnnotationInfo(id=1, label="person", color=(40, 220, 200)))
        rerun.log("camera/mask", rerun.AnnotationContext(names), static=True)

    def show(self, frame: AnnotatedFrame) -> None:
        """Log one frame at the stamp of its image."""
        rerun = self._rerun
        rerun.set_time("image", timestamp=frame.stamp_ns / 1e9)
        rerun.log("camera/image", rerun.Image(frame.rgb))
        rerun.log("camera/mask", rerun.SegmentationImage(frame.labels))
        rerun.log("depth", rerun.DepthImage(frame.depth.astype(np.float32), meter=1.0))
        rerun.log("latency_ms", rerun.Scalars(frame.latency_ms))
        rerun.log("people", rerun.Clear(recursive=True))
        rerun.log("camera/image/people", rerun.Clear(recursive=True))
        for body in frame.bodies:
            self._log_body(body)

    def _log_body(self, body: Body) -> None:
        rerun, colour = self._rerun, colour_of(body.id)
        keypoints, positions_m = body.keypoints[:, :2], body.positions_m
        path = f"camera/image/people/{body.id}"
        rerun.log(path, rerun.LineStrips2D(_bones(keypoints), colors=colour, labels=[body.id]))
        if np.isfinite(positions_m).any():
            path = f"people/{body.id}"
            rerun.log(path, rerun.LineStrips3D(_bones(positions_m), colors=colour, radii=0.015))


def _layout(blueprint: Any) -> Any:
    """Left: image with mask and skeletons, depth. Right: skeletons in 3D, latency."""
    images = blueprint.Vertical(
        blueprint.Spatial2DView(origin="camera", name="Image, mask, skeletons"),
        blueprint.Spatial2DView(origin="depth", name="Depth"),
    )
    plots = blueprint.Vertical(
        blueprint.Spatial3DView(origin="people", name="Skeletons in 3D"),
        blueprint.TimeSeriesView(origin="latency_ms", name="Latency (ms)"),
        row_shares=[3, 1],
    )
    return blueprint.Blueprint(blueprint.Horizontal(images, plots), collapse_panels=True)


def _bones(points: np.ndarray) -> list[np.ndarray]:
    """The end points (2 x d) of the bones whose both ends are known; ``points`` is k x d."""
    known = np.isfinite(points).all(axis=1)
    return [points[[a, b]] for a, b in BONES if known[a] and known[b]]
