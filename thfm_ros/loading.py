# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Loading the pipeline of a checkpoint, whichever family it is of."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from thfm_ros.config import Config, EngineConfig
from thfm_ros.config_option import ConfigError
from thfm_ros.contract import Clip, Perception, PerceptionError, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.external_boxes import ExternalBoxes
from thfm_ros.perception.malloc_tuning import keep_freed_memory

if TYPE_CHECKING:
    from thfm_ros.pipeline import PerceptionPipeline


class Runtime(Protocol):
    """The runtime of a network, for logs and diagnostics; see engine.base.Engine."""

    @property
    def card(self) -> ModelCard:
        """The model card of the checkpoint."""

    @property
    def description(self) -> str:
        """The runtime and its device, with the fallback reason if there is one."""

    @property
    def fallback_reason(self) -> str | None:
        """Why another runtime or precision replaces the requested one; None if none does."""


class Pipeline(Protocol):
    """From the newest frames of one camera to the perception of the newest one.

    ``last_timings_ms`` holds the time of each stage of the last step, and the "total".
    With ``paint_later`` the results of `step` may lack their maps, which `painter` adds.
    """

    last_timings_ms: dict[str, float]
    paint_later: bool

    @property
    def config(self) -> Config:
        """The configuration in effect."""

    @property
    def external_boxes(self) -> ExternalBoxes | None:
        """What receives the boxes of another detector; None: it uses none."""

    @property
    def engine(self) -> Runtime:
        """What runs the network."""

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; only what ``tasks`` request is computed.

        Raises:
            PerceptionError: the task or the input cannot be used; the text says what to do.
        """

    def painter(self, perception: Perception) -> Callable[[], Perception]:
        """The function that returns the result of the last `step` with all maps.

        With ``paint_later`` painting them takes its time then, in any thread, while later steps
        run. Call the functions one at a time, in the order of the steps; some may be left out.
        """

    def predicted(self, perception: Perception, now_ns: int) -> Perception:
        """The perception of the last `step` with its bodies predicted at a later time.

        Its stamp is the time predicted to: ``now_ns``, but not before the frame's and not more
        than root_filter.MAX_EXTRAPOLATION_S after it. The maps stay those of the frame.
        """

    def reset(self) -> None:
        """Drop all tracks and begin a new stream."""

    def with_config(self, config: Config) -> "Pipeline":
        """A pipeline with the same engine and another configuration; it begins a new stream."""


def load_pipeline(
    config: Config, *, live: bool = False, used_ids: set[str] | None = None
) -> Pipeline:
    """The pipeline of the checkpoint and the engine that ``config.engine`` names.

    Args:
        config: all parameters.
        live: see `PerceptionPipeline`; the full-size pipeline does not depend on it.
        used_ids: ids of bodies that are not used again; those of this pipeline are added.

    Raises:
        PerceptionError: they cannot be used; the text says what to do.
    """
    # torch and onnxruntime take seconds to import: only callers that run a network import them.
    from thfm_ros.engine.checkpoint import find_checkpoint

    if config.node.detections and not live:
        raise ConfigError(
            f"The parameter detections names the topic {config.node.detections}, which only the "
            "node can receive. Leave it empty here."
        )
    keep_freed_memory()
    checkpoint = find_checkpoint(config.engine.checkpoint)
    if checkpoint.card.family == "genception":
        if config.engine.scene_checkpoint:
            raise ConfigError(
                f"{checkpoint.card.name} covers the scene itself. With engine.scene_checkpoint, "
                "engine.checkpoint must estimate bodies: use nano."
            )
        if config.node.detections:
            raise ConfigError(
                f"{checkpoint.card.name} perceives whole images and takes no boxes, so the "
                "parameter detections must be empty. The checkpoint nano takes them."
            )
        from thfm_ros.genception.engine_selection import load_genception
        from thfm_ros.genception.pipeline import GenceptionPipeline

        return GenceptionPipeline(load_genception(checkpoint, config.engine), config, used_ids)
    from thfm_ros.engine.select import load_engine
    from thfm_ros.pipeline import PerceptionPipeline

    engine = load_engine(checkpoint, _engine_config(config.engine, live=live))
    bodies = PerceptionPipeline(engine, config, live=live, used_ids=used_ids)
    return _with_scene(bodies, config, live=live) if config.engine.scene_checkpoint else bodies


def _engine_config(config: EngineConfig, *, live: bool) -> EngineConfig:
    """Recordings are perceived alike on every processor, unless int8 is asked for."""
    if config.precision == "auto" and not live:
        return dataclasses.replace(config, precision="fp32")
    return config


def _with_scene(bodies: "PerceptionPipeline", config: Config, *, live: bool) -> Pipeline:
    """The pair of both networks; live without the scene's if that cannot be loaded for lack of
    memory, for example: the diagnostics say so, and bodies go on."""
    from thfm_ros.engine.checkpoint import find_checkpoint
    from thfm_ros.genception.engine_selection import load_genception
    from thfm_ros.genception.out_of_memory import OutOfMemoryError
    from thfm_ros.genception.pipeline import GenceptionPipeline
    from thfm_ros.scene_pair import ScenePair

    checkpoint = find_checkpoint(config.engine.scene_checkpoint)
    if checkpoint.card.family != "genception":
        raise ConfigError(
            f"engine.scene_checkpoint is {checkpoint.path}, of the {checkpoint.card.family} "
            "family; give a full-size checkpoint that `thfm import` wrote, or leave it empty."
        )
    # ONNX Runtime runs nano only.
    kind = "auto" if config.engine.kind == "onnx" else config.engine.kind
    try:
        network = load_genception(checkpoint, dataclasses.replace(config.engine, kind=kind))
    except (MemoryError, RuntimeError) as error:
        is_for_the_user = isinstance(error, PerceptionError)
        if not live or (is_for_the_user and not isinstance(error, OutOfMemoryError)):
            raise
        problem = f"it cannot be loaded ({str(error).partition(chr(10))[0]})"
        return ScenePair(bodies, None, live=live, problem=problem)
    return ScenePair(bodies, GenceptionPipeline(network, config), live=live)
