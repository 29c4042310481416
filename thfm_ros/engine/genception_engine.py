"""TensorRT engines of the full-size network, built on the machine that runs them.

Five graphs of one profile: the transformer, and for each half of the codec the first step and
every later one. Prompts are not in the transformer's graph, as each would take the weights along
once more; their keys and values are computed once and lie in the cache beside the engines. So a
start from the cache needs none of the network's weights. No GPU was at hand when this was written.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thfm_ros.contract import Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.genception_verify import TOLERANCE, distance, fixed_inputs, fixed_video
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.tensorrt_compiler import Compiler, Run
from thfm_ros.engine.tensorrt_engine import DiffersError, built_with
from thfm_ros.model.card import ModelCard
from thfm_ros.model.genception import GenceptionOutputs
from thfm_ros.model.genception_checkpoint import GenceptionCheckpoint
from thfm_ros.model.genception_config import VAE_TEMPORAL
from thfm_ros.model.genception_parts import (
    CodecSteps,
    GenceptionParts,
    Profile,
    Step,
    Tensors,
    make_parts,
    prompt_text,
)
from thfm_ros.model.wan_codec import WanCodec

log = logging.getLogger(__name__)

PRECISION = torch.bfloat16
"""That of the public weights. In half precision Wan's activations may overflow."""
PARTS = {
    "encoder": ("encoder_first", "encoder_later"),
    "transformer": ("transformer",),
    "decoder": ("decoder_first", "decoder_later"),
}
"""What can fail, and be replaced by PyTorch, on its own; and its graphs."""
_CODEC_BYTES = 1 << 30


class Reference:
    """The network in PyTorch, loaded only if something must be built, compared or replaced."""

    def __init__(self, load: Callable[[], GenceptionCheckpoint], profile: Profile) -> None:
        """``load`` puts it where the engines are going to run, in `PRECISION`."""
        self._load, self._profile = load, profile

    @functools.cached_property
    def checkpoint(self) -> GenceptionCheckpoint:
        """All of it."""
        return self._load()

    @functools.cached_property
    def parts(self) -> GenceptionParts:
        """Cut into graphs."""
        loaded = self.checkpoint
        if not isinstance(loaded.codec, WanCodec):
            raise EngineError("Engines are built of the Wan VAE; load the network without another.")
        length = int(loaded.card.network["prompt_length"])
        return make_parts(loaded.transformer, loaded.codec, self._profile, prompt_length=length)

    @functools.cached_property
    def texts(self) -> dict[str, Tensor]:
        """`prompt_text` of every task, by its name."""
        loaded = self.checkpoint
        with torch.no_grad():
            return {
                task.value: prompt_text(loaded.transformer, prompt)
                for task, prompt in loaded.prompts.items()
            }

    @functools.cached_property
    def inputs(self) -> dict[str, Tensors]:
        """What each graph is given when the network sees a fixed clip."""
        if not self.texts:
            name = self.checkpoint.card.name
            raise EngineError(f"{name} has no prompts: import it again with its embeddings.")
        video = fixed_video(self._profile, self.checkpoint.device, self.checkpoint.dtype)
        return fixed_inputs(self.parts, video, next(iter(self.texts.values())))

    def module(self, graph: str) -> nn.Module:
        """What a graph is made of."""
        if graph == "transformer":
            return self.parts.transformer
        step = self.steps(graph.partition("_")[0]).later
        assert isinstance(step, nn.Module)
        return step

    def steps(self, half: str) -> CodecSteps:
        """The codec's "encoder" or "decoder"."""
        return self.parts.encoder_steps if half == "encoder" else self.parts.decoder_steps


@dataclass(frozen=True)
class Recipe:
    """How the artefacts of one checkpoint get into the cache, and out of it."""

    card: ModelCard
    weights_sha256: str
    weights_bytes: int
    profile: Profile
    compiler: Compiler
    reference: Reference

    def graph(self, name: str, cache: EngineCache) -> Step:
        """A compiled graph, from the cache or built now."""
        room = self.weights_bytes if name == "transformer" else _CODEC_BYTES
        build = functools.partial(self._build, name)
        return cache.load(self.key(name), build, self._read, needs_bytes=room)

    def texts(self, cache: EngineCache) -> dict[Task, Tensor]:
        """Every prompt's keys and values."""

        def build(path: Path) -> dict[str, str]:
            save_file(self.reference.texts, path)
            return {}

        def read(path: Path) -> dict[str, Tensor]:
            return load_file(path, device=str(self.compiler.device))

        room = 64 << 20
        found = cache.load(self.key("prompts", "prompts"), build, read, needs_bytes=room)
        return {Task(name): text for name, text in found.items()}

    def key(self, graph: str, engine: str = "tensorrt") -> EngineKey:
        """All that an artefact depends on."""
        return EngineKey(
            engine=engine,
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=f"{self.profile.name}-{graph}",
            precision=str(PRECISION).removeprefix("torch."),
            device=self.compiler.gpu(),
            versions=built_with(self.compiler, "genception", "diffusers"),
        )

    def _build(self, graph: str, path: Path) -> dict[str, str]:
        """Compile one graph to ``path`` and compare it with PyTorch."""
        name = f"{self.card.name} {self.profile.name}"
        log.info("Building the TensorRT engine %r of %s, once; this takes minutes.", graph, name)
        module, inputs = self.reference.module(graph), self.reference.inputs[graph]
        self.compiler.build(module, inputs, path)
        with torch.no_grad():
            wanted = module(*inputs)
        off = distance(self._read(path)(*inputs), wanted)
        if not off <= TOLERANCE:
            raise DiffersError(
                f"The TensorRT engine {graph!r} differs from PyTorch by {off:.1e}, more than "
                f"{TOLERANCE:.0e}."
            )
        return {"difference": f"{off:.1e}", "tolerance": f"{TOLERANCE:.0e}"}

    def _read(self, path: Path) -> Step:
        return _kept(self.compiler.load(path))


def _kept(run: Run) -> Step:
    def step(*inputs: Tensor) -> Tensors:
        # CUDA graphs write every call's outputs to the same place: the codec's memory, and what
        # one task was answered, must outlive the next call.
        return tuple(out.clone() for out in run(*(each.contiguous() for each in inputs)))

    return step


class CompiledNetwork:
    """Compiled graphs as a `genception_runner.Network`."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        device: torch.device,
        parts: Mapping[str, CodecSteps | Step],
        texts: Mapping[Task, Tensor],
    ) -> None:
        """``parts`` are those of `PARTS`; without "decoder" it has only tokens to say."""
        self.card, self.description = card, description
        self.device, self.dtype = device, PRECISION
        self._parts, self._texts = dict(parts), dict(texts)

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """Step by step."""
        return self._codec("encoder").run(video)

    def answer(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One pass."""
        transformer = self._parts["transformer"]
        assert callable(transformer)
        return GenceptionOutputs(*transformer(latents, self._texts[task]))

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """Step by step; EngineError if the decoder was left out."""
        return self._codec("decoder").run(latents)

    def _codec(self, half: str) -> CodecSteps:
        found = self._parts.get(half)
        if not isinstance(found, CodecSteps):
            raise EngineError(f"This network has no {half}: load it with dense=True.")
        return found


def load_compiled(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    load: Callable[[], GenceptionCheckpoint],
    *,
    dense: bool = True,
) -> CompiledNetwork:
    """The engines of a full-size checkpoint, building those that the cache does not have.

    A part that cannot be compiled, or does not say what PyTorch says, is run by PyTorch; the log
    and the description say so.

    Args:
        checkpoint: what is to run, in the profile on its card.
        cache: where engines are kept.
        compiler: what builds them.
        load: see `Reference`.
        dense: False leaves the decoder out, for who only wants tokens: half of the cost.

    Raises:
        Exception: why the last part failed, if all did; or why the prompts could not be read.
    """
    card = checkpoint.card
    profile = Profile(card.window, *card.frame_size)
    reference = Reference(load, profile)
    size = checkpoint.path.stat().st_size
    recipe = Recipe(card, checkpoint.sha256(), size, profile, compiler, reference)
    texts = recipe.texts(cache)
    parts, failed = _parts(recipe, cache, list(PARTS) if dense else ["encoder", "transformer"])
    if len(failed) == len(parts):
        raise failed.popitem()[1]
    description = _description(recipe, failed)
    network = CompiledNetwork(card, description, compiler.device, parts, texts)
    _run_once(network, profile, dense)
    return network


def _parts(
    recipe: Recipe, cache: EngineCache, names: list[str]
) -> tuple[dict[str, CodecSteps | Step], dict[str, Exception]]:
    """Every part, and why PyTorch runs some of them."""
    parts: dict[str, CodecSteps | Step] = {}
    failed: dict[str, Exception] = {}
    for name in names:
        try:
            parts[name] = _part(name, recipe, cache)
        except Exception as error:
            log.warning("PyTorch runs the %s: %s", name, error)
            failed[name] = error
            reference = recipe.reference
            whole = name == "transformer"
            parts[name] = reference.parts.transformer if whole else reference.steps(name)
    return parts, failed


def _part(part: str, recipe: Recipe, cache: EngineCache) -> CodecSteps | Step:
    first, *later = (recipe.graph(name, cache) for name in PARTS[part])
    if not later:
        return first
    return CodecSteps(first, later[0], VAE_TEMPORAL if part == "encoder" else 1)


def _description(recipe: Recipe, failed: Mapping[str, Exception]) -> str:
    compiler = recipe.compiler
    text = f"TensorRT {dict(compiler.libraries())['tensorrt']}, {compiler.gpu()}"
    text += f", {str(PRECISION)[6:]}, {recipe.profile.name}"
    for part, error in failed.items():
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        text += f" (PyTorch instead of tensorrt for the {part}: {reason})"
    return text


@torch.inference_mode()
def _run_once(network: CompiledNetwork, profile: Profile, dense: bool) -> None:
    """The first run is slow, and may find that memory does not suffice: not in a callback."""
    latents = network.encode(fixed_video(profile, network.device, network.dtype))
    for task in network.card.tasks[:1]:
        answer = network.answer(latents, task).video_latents
        if dense:
            network.decode(answer)
