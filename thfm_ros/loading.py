"""The pipelines of the two families of checkpoints, behind one surface."""

from typing import Protocol

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Perception, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.malloc_tuning import keep_freed_memory


class Runtime(Protocol):
    """What runs a network, as people and diagnostics want to know it."""

    @property
    def card(self) -> ModelCard:
        """What the checkpoint says about itself."""

    @property
    def description(self) -> str:
        """Which runtime, where, and why not the one that was asked for, if so."""


class Pipeline(Protocol):
    """From the newest frames of one camera to what is said about the newest of them."""

    last_timings_ms: dict[str, float]

    @property
    def config(self) -> Config:
        """What is in effect."""

    @property
    def engine(self) -> Runtime:
        """What runs the network."""

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; only what ``tasks`` ask for is computed.

        Raises:
            PerceptionError: something that the user can cure.
        """

    def reset(self) -> None:
        """Forget everybody; the stream begins anew."""

    def with_config(self, config: Config) -> "Pipeline":
        """The same engine under another configuration; the stream begins anew."""


def load_pipeline(config: Config, *, live: bool = False) -> Pipeline:
    """A pipeline with the engine and the weights that ``config.engine`` names.

    Args:
        config: all settings.
        live: see `PerceptionPipeline`; the full-size network has but one way.

    Raises:
        PerceptionError: they cannot be used; the text says what to do about it.
    """
    # torch and onnxruntime take seconds to import: only who runs a network pays for them.
    from thfm_ros.engine.checkpoint import find_checkpoint

    keep_freed_memory()
    if find_checkpoint(config.engine.checkpoint).card.family == "genception":
        from thfm_ros.genception.engine_selection import load_genception
        from thfm_ros.genception.pipeline import GenceptionPipeline

        return GenceptionPipeline(load_genception(config.engine), config)
    from thfm_ros.engine.select import load_engine
    from thfm_ros.pipeline import PerceptionPipeline

    return PerceptionPipeline(load_engine(config.engine), config, live=live)
