# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Two networks on the frames of one camera: bodies by nano, maps of the whole scene by a large one.

Offline both perceive every frame. In the node the large network runs in a thread of its own, as
often as it can, on the newest frame that nano has perceived; its maps keep that frame's stamp. The
unit of its depth is solved from the people whose depth nano knows in metres.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.perception.dense_maps import BACKGROUND_ID
from thfm_ros.perception.depth_scale import SteadyScale, fit_scale, person_masks
from thfm_ros.perception.external_boxes import ExternalBoxes
from thfm_ros.pipeline import PerceptionPipeline

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""After an error of the scene network in the node it is not run for so long."""
_SCENE_TASKS = frozenset({Task.DEPTH, Task.NORMALS, Task.SEGMENTATION})
_FOR_MASKS = frozenset({Task.BODIES, Task.INSTANCES})
_FOR_SCALE = _FOR_MASKS | {Task.DEPTH}

OnScene = Callable[[Perception, Frame], None]


class SceneRuntime(Protocol):
    """Runtime of the scene network; see loading.Runtime."""

    @property
    def card(self) -> ModelCard:
        """The model card of the checkpoint."""

    @property
    def description(self) -> str:
        """The runtime and its device."""

    @property
    def fallback_reason(self) -> str | None:
        """Why PyTorch replaces the requested runtime; None if it does not."""


class ScenePipeline(Protocol):
    """What the pair needs of the pipeline of the scene network; see loading.Pipeline."""

    @property
    def engine(self) -> Any:
        """What runs the network: a `SceneRuntime`."""

    @property
    def config(self) -> Config:
        """The configuration in effect."""

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``."""

    def reset(self) -> None:
        """Begin a new stream."""

    def with_config(self, config: Config) -> "ScenePipeline":
        """The same network with another configuration."""


class PairRuntime:
    """Both runtimes as one, for logs and diagnostics.

    ``problem`` says why there are no maps of the scene at present; empty if there are.
    """

    def __init__(self, bodies: SceneRuntime, scene: SceneRuntime | None, problem: str = "") -> None:
        self._bodies, self._scene = bodies, scene
        self.problem = problem
        own, other = bodies.card, scene.card if scene else bodies.card
        self.scene_tasks = frozenset(other.tasks) & _SCENE_TASKS if scene else frozenset[Task]()
        name = f"{own.name} + {other.name}" if scene else own.name
        self.card = dataclasses.replace(own, name=name)

    @property
    def description(self) -> str:
        """Both runtimes."""
        scene = self._scene.description if self._scene else "not loaded"
        return f"{self._bodies.description}; scene: {scene}"

    @property
    def fallback_reason(self) -> str | None:
        """Of either runtime, or why the scene network fails."""
        reasons = [self._bodies.fallback_reason or ""]
        reasons += [self._scene.fallback_reason or ""] if self._scene else []
        reasons += [f"no maps of the scene: {self.problem}"] if self.problem else []
        return "; ".join(filter(None, reasons)) or None


class ScenePair:
    """A pipeline (`loading.Pipeline`) of nano and of a network for whole scenes.

    ``on_scene`` receives the maps of the scene with their frame, in the thread of the scene
    network; set it before the first step. Without it, results of `step` hold all maps.
    """

    def __init__(
        self,
        bodies: PerceptionPipeline,
        scene: ScenePipeline | None,
        *,
        live: bool,
        problem: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``problem``: why there is no ``scene``. ``clock``: seconds, for `RETRY_S`."""
        self.bodies, self.scene, self._live, self._clock = bodies, scene, live, clock
        self.engine = PairRuntime(bodies.engine, scene.engine if scene else None, problem)
        self.on_scene: OnScene = lambda perception, frame: None
        self.last_timings_ms: dict[str, float] = {}
        self.paint_later = False  # is ignored, see `painter`
        self._scale = SteadyScale()
        self._scene_epoch: int | None = None
        self._scene_reset = False
        self._scene_ms = float("nan")
        self._task: BackgroundTask[None] | None = None
        self._not_before_s = -np.inf

    @property
    def config(self) -> Config:
        """That of nano, with the longer window of both."""
        config = self.bodies.config
        length = max(config.window.length, self.scene.config.window.length if self.scene else 1)
        return dataclasses.replace(config, window=dataclasses.replace(config.window, length=length))

    @property
    def external_boxes(self) -> ExternalBoxes | None:
        """Those of nano."""
        return self.bodies.external_boxes

    def predicted(self, perception: Perception, now_ns: int) -> Perception:
        """The bodies at a later time; see `PerceptionPipeline.predicted`."""
        return self.bodies.predicted(perception, now_ns)

    def painter(self, perception: Perception) -> Callable[[], Perception]:
        """The perception itself: the scene's maps need those of nano within the step."""
        return lambda: perception

    def reset(self) -> None:
        """Drop all tracks and begin a new stream in both."""
        self.bodies.reset()
        self._scene_reset = True

    def with_config(self, config: Config) -> "ScenePair":
        """The same networks with another configuration; a new stream in both."""
        scene = self.scene.with_config(config) if self.scene else None
        bodies = self.bodies.with_config(config)
        pair = ScenePair(
            bodies, scene, live=self._live, problem=self.engine.problem, clock=self._clock
        )
        pair.on_scene = self.on_scene
        pair._task = self._task  # one thread at a time runs the scene network
        return pair

    def wait(self) -> None:
        """Wait until the scene network has finished its frame."""
        if self._task is not None:
            self._task.result()

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame: bodies, and the maps that the scene network does not have.

        Offline the maps of the scene are in the result; live they go to ``on_scene``.

        Raises:
            PerceptionError: see `PerceptionPipeline.step`; offline also errors of the scene's.
        """
        scene_tasks = self._scene_tasks(tasks)
        own_tasks = tasks - scene_tasks
        helping = _FOR_MASKS if Task.INSTANCES in scene_tasks else frozenset[Task]()
        helping |= _FOR_SCALE if Task.DEPTH in scene_tasks else frozenset[Task]()
        found = self.bodies.step(clip, own_tasks | helping)
        if scene_tasks and self._live:
            self._start(clip, found, scene_tasks)
        elif scene_tasks:
            found = self._scene_of(clip, found, scene_tasks)
        self.last_timings_ms = {**self.bodies.last_timings_ms, "scene": self._scene_ms}
        return _only(found, own_tasks if self._live else tasks)

    def _scene_tasks(self, tasks: frozenset[Task]) -> frozenset[Task]:
        available = self.engine.scene_tasks
        # Masks of single people are the scene's mask, cut by nano's.
        cut = {Task.INSTANCES} if Task.SEGMENTATION in available else set()
        return tasks & (available | cut)

    def _start(self, clip: Clip, found: Perception, tasks: frozenset[Task]) -> None:
        if (self._task and self._task.running) or self._clock() < self._not_before_s:
            return
        work = partial(self._scene_step, clip, found, tasks)
        self._task = BackgroundTask(work, "scene")

    def _scene_step(self, clip: Clip, found: Perception, tasks: frozenset[Task]) -> None:
        """In a thread of its own; an error becomes a diagnostic, and bodies go on."""
        try:
            result = self._scene_of(clip, found, tasks)
        except Exception as error:  # of any library, out of memory included
            kind = "" if isinstance(error, PerceptionError) else f"{type(error).__name__}: "
            text = kind + str(error).partition("\n")[0]
            if not self.engine.problem:
                log.warning("No maps of the scene, bodies go on: %s", text)
            self.engine.problem = text
            self._scene_reset = True
            self._not_before_s = self._clock() + RETRY_S
            return
        self.engine.problem = ""
        self.on_scene(dataclasses.replace(_only(result, tasks), bodies=()), clip.newest)

    def _scene_of(self, clip: Clip, found: Perception, tasks: frozenset[Task]) -> Perception:
        """``found`` with the maps of the scene."""
        assert self.scene is not None
        start = self._clock()
        if self._scene_reset or clip.epoch != self._scene_epoch:
            self.scene.reset()
            self._scale.reset()
            self._scene_reset, self._scene_epoch = False, clip.epoch
        asked = tasks & self.engine.scene_tasks
        if Task.INSTANCES in tasks:
            asked |= {Task.SEGMENTATION}
        scene = self.scene.step(clip, asked)
        changes: dict[str, Any] = {}
        if Task.DEPTH in tasks:
            changes |= self._depth(scene, found)
        if Task.NORMALS in tasks:
            changes["normals"] = scene.normals
        if Task.SEGMENTATION in tasks:
            changes["mask"] = scene.mask
        if Task.INSTANCES in tasks:
            changes["instances"] = self._instances(scene, found)
        self._scene_ms = (self._clock() - start) * 1e3
        return dataclasses.replace(found, **changes)

    def _depth(self, scene: Perception, found: Perception) -> dict[str, Any]:
        """Metric depth, or relative depth while the scale is unknown."""
        relative = scene.depth_relative
        assert relative is not None
        metric, instances = found.depth_m, found.instances
        unknown = {"depth_m": None, "depth_relative": relative}
        if metric is None or instances is None:  # without calibration
            return unknown
        metric, instances = (_resized(each, relative.shape) for each in (metric, instances))
        fit = fit_scale(relative, metric, instances, len(found.bodies))
        scale = self._scale.update(fit, found.stamp_ns)
        if not np.isfinite(scale):
            return unknown
        return {"depth_m": (relative * scale).astype(np.float32), "depth_relative": None}

    def _instances(self, scene: Perception, found: Perception) -> np.ndarray:
        assert scene.mask is not None and found.instances is not None
        shape = scene.mask.shape
        boxes = np.array([body.box for body in found.bodies]).reshape(-1, 4)
        scale = np.array([shape[1] / found.width, shape[0] / found.height])
        return person_masks(
            scene.mask,
            _resized(found.instances, shape),
            boxes * np.tile(scale, 2),
            threshold=self.bodies.config.decode.mask_threshold,
            background=BACKGROUND_ID,
        )


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map of nano, which may be smaller (``output_scale``), at the size of the scene's."""
    if values.shape == shape:
        return values
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST))


_FIELDS = {
    Task.DEPTH: ("depth_m", "depth_relative"),
    Task.NORMALS: ("normals",),
    Task.SEGMENTATION: ("mask",),
    Task.PARTS: ("parts",),
    Task.DENSE_POSE: ("dense_pose",),
    Task.INSTANCES: ("instances",),
}


def _only(perception: Perception, tasks: frozenset[Task]) -> Perception:
    """Without the maps of other tasks."""
    dropped = {name: None for task, names in _FIELDS.items() if task not in tasks for name in names}
    return dataclasses.replace(perception, **dropped)  # type: ignore[arg-type]
