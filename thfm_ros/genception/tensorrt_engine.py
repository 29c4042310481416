"""TensorRT engines of the full-size network, built on the machine that runs them.

Five graphs of one profile: the transformer, and for each half of the VAE the first step and every
later one; the small codec's halves are one graph each. Prompts are not in the transformer's graph,
as each would take the weights along once more; their keys and values are computed once and lie in
the cache beside the engines. So a start from the cache needs none of the network's weights. No GPU
was at hand when this was written.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import EngineCache, sha256_of
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.tensorrt_compiler import Compiler, Run
from thfm_ros.engine.tensorrt_engine import DiffersError, built_with
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.config import VAE_TEMPORAL
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.torch_reference import PRECISION, Reference
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.genception.vae_steps import CodecSteps, Step, Tensors
from thfm_ros.genception.verify import TOLERANCE, distance, fixed_video
from thfm_ros.model.card import ModelCard

log = logging.getLogger(__name__)

PARTS = {
    "encoder": ("encoder_first", "encoder_later"),
    "transformer": ("transformer",),
    "decoder": ("decoder_first", "decoder_later"),
}
"""What can fail, and be replaced by PyTorch, on its own; and its graphs."""
PARTS_WITH_TINY_CODEC = {part: (part,) for part in PARTS}
_CODEC_BYTES = 1 << 30


@dataclass(frozen=True)
class Recipe:
    """How the artefacts of one checkpoint get into the cache, and out of it."""

    card: ModelCard
    weights_sha256: str
    weights_bytes: int
    profile: Profile
    compiler: Compiler
    reference: Reference
    tiny_codec: bool = False

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
            wanted = _several(module(*inputs))
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
        said = _several(run(*(each.contiguous() for each in inputs)))
        return tuple(out.clone() for out in said)

    return step


def _several(said: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (said,) if isinstance(said, Tensor) else said


class CompiledNetwork:
    """Compiled graphs as a `genception_runner.Network`."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        device: torch.device,
        parts: Mapping[str, Step],
        texts: Mapping[Task, Tensor],
    ) -> None:
        """``parts`` are those of `PARTS`; without "decoder" it has only tokens to say."""
        self.card, self.description = card, description
        self.device, self.dtype = device, PRECISION
        self._parts, self._texts = dict(parts), dict(texts)

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """See `genception_runner.Network`."""
        return self._parts["encoder"](video)[0]

    def answer(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One pass, with the prompt of ``task``."""
        return GenceptionOutputs(*self._parts["transformer"](latents, self._texts[task]))

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """See `genception_runner.Network`; EngineError if the decoder was left out."""
        if "decoder" not in self._parts:
            raise EngineError("This network has no decoder: load it with dense=True.")
        return self._parts["decoder"](latents)[0]


def load_compiled(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    load: Callable[[], GenceptionCheckpoint],
    *,
    dense: bool = True,
    tiny_codec: Path | None = None,
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
        tiny_codec: the file that ``load`` takes the codec from, if it is not the VAE.

    Raises:
        Exception: why the last part failed, if all did; or why the prompts could not be read.
    """
    card = checkpoint.card
    profile = Profile(card.window, *card.frame_size)
    reference = Reference(load, profile)
    size = checkpoint.path.stat().st_size
    sha256 = checkpoint.sha256() + ("" if tiny_codec is None else f"+{sha256_of(tiny_codec)}")
    tiny = tiny_codec is not None
    recipe = Recipe(card, sha256, size, profile, compiler, reference, tiny)
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
) -> tuple[dict[str, Step], dict[str, Exception]]:
    """Every part, and why PyTorch runs some of them."""
    parts: dict[str, Step] = {}
    failed: dict[str, Exception] = {}
    for name in names:
        try:
            parts[name] = _part(name, recipe, cache)
        except Exception as error:
            log.warning("PyTorch runs the %s: %s", name, error)
            failed[name] = error
            parts[name] = _kept(recipe.reference.module(name))
    return parts, failed


def _part(part: str, recipe: Recipe, cache: EngineCache) -> Step:
    names = (PARTS_WITH_TINY_CODEC if recipe.tiny_codec else PARTS)[part]
    first, *later = (recipe.graph(name, cache) for name in names)
    if not later:
        return first
    steps = CodecSteps(first, later[0], VAE_TEMPORAL if part == "encoder" else 1)
    return lambda x: (steps.run(x),)


def _description(recipe: Recipe, failed: Mapping[str, Exception]) -> str:
    compiler = recipe.compiler
    text = f"TensorRT {dict(compiler.libraries())['tensorrt']}, {compiler.gpu()}"
    text += f", {str(PRECISION)[6:]}, {recipe.profile.name}"
    text += ", tiny codec" if recipe.tiny_codec else ""
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
