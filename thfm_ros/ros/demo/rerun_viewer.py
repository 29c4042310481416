"""The demo in Rerun: images, masks, depth and 3D skeletons on one timeline."""

import logging
import os
from typing import Any
from urllib.parse import quote

import numpy as np

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.media.drawing import colour_of
from thfm_ros.ros.demo.panels import Moment
from thfm_ros.ros.to_msg.images import UNLABELLED
from thfm_ros.skeleton import BONES

logger = logging.getLogger("demo")


class Viewer:
    """A window where there is a screen, else a page for a browser."""

    def __init__(self) -> None:
        try:
            import rerun
        except ImportError as error:
            raise PerceptionError(
                "The viewer Rerun is not installed (some 600 MB): pip install 'rerun-sdk>=0.24', "
                "or let ./demo.sh --viewer rerun do it."
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
            logger.info("No screen here: while the demo runs, Rerun is at %s", page)
        rerun.log("people", rerun.ViewCoordinates.RDF, static=True)  # REP-103's optical frame
        # Labels without a colour of their own would get one, and tint the whole image.
        names = [rerun.AnnotationInfo(id=each, color=(0, 0, 0, 0)) for each in (0, UNLABELLED)]
        names.append(rerun.AnnotationInfo(id=1, label="person", color=(40, 220, 200)))
        rerun.log("camera/mask", rerun.AnnotationContext(names), static=True)

    def show(self, moment: Moment) -> None:
        """Log one moment at the time of its image."""
        rerun = self._rerun
        rerun.set_time("image", timestamp=moment.stamp_ns / 1e9)
        rerun.log("camera/image", rerun.Image(moment.rgb))
        rerun.log("camera/mask", rerun.SegmentationImage(moment.labels))
        rerun.log("depth", rerun.DepthImage(moment.depth.astype(np.float32), meter=1.0))
        rerun.log("latency_ms", rerun.Scalars(moment.latency_ms))
        rerun.log("people", rerun.Clear(recursive=True))
        rerun.log("camera/image/people", rerun.Clear(recursive=True))
        for body in moment.bodies:
            self._body(body)

    def _body(self, body: Body) -> None:
        rerun, colour = self._rerun, colour_of(body.id)
        flat, places = body.keypoints[:, :2], body.positions_m
        path = f"camera/image/people/{body.id}"
        rerun.log(path, rerun.LineStrips2D(_strips(flat), colors=colour, labels=[body.id]))
        if np.isfinite(places).any():
            path = f"people/{body.id}"
            rerun.log(path, rerun.LineStrips3D(_strips(places), colors=colour, radii=0.015))


def _layout(blueprint: Any) -> Any:
    """Image with mask and skeletons above depth; beside them people in space and latency."""
    images = blueprint.Vertical(
        blueprint.Spatial2DView(origin="camera", name="Image, mask, skeletons"),
        blueprint.Spatial2DView(origin="depth", name="Depth"),
    )
    numbers = blueprint.Vertical(
        blueprint.Spatial3DView(origin="people", name="People in space"),
        blueprint.TimeSeriesView(origin="latency_ms", name="Latency (ms)"),
        row_shares=[3, 1],
    )
    return blueprint.Blueprint(blueprint.Horizontal(images, numbers), collapse_panels=True)


def _strips(places: np.ndarray) -> list[np.ndarray]:
    """Bones whose both ends are known, each as a line."""
    known = np.isfinite(places).all(axis=1)
    return [places[[a, b]] for a, b in BONES if known[a] and known[b]]
