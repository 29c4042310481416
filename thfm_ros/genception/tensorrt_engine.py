# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""TensorRT engines of the full-size network, built on the machine that runs them.

There are five engines per profile: the transformer, and for encoder and decoder of the VAE the
first step and the later ones; of the tiny VAE, encoder and decoder are one engine each. The prompt
is an input of the transformer's engine, because one engine per prompt would store the weights
several times. The prompts' keys and values are computed once and stored in the cache too, so that
a start from the cache does not load the network's weights. Not tested on a GPU yet: none was
available.
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
from thfm_ros.engine.base import EngineError, VerificationError
from thfm_ros.engine.cache import EngineCache, sha256_of
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.select import first_line
from thfm_ros.engine.tensorrt_compiler import Compiler, Run
from thfm_ros.engine.tensorrt_engine import build_versions
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.config import VAE_TEMPORAL
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.torch_reference import PRECISION, TorchReference
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.genception.vae_steps import Step, Tensors, VaeSteps
from thfm_ros.genception.verify import TOLERANCE, fixed_video, relative_l2_error
from thfm_ros.model.card import ModelCard

log = logging.getLogger(__name__)

ENGINES_OF_SUBGRAPH = {
    "encoder": ("encoder_first", "encoder_later"),
    "transformer": ("transformer",),
    "decoder": ("decoder_first", "decoder_later"),
}
"""Engines by subgraph. Each subgraph can fail, and be run by PyTorch, independently."""
ENGINES_WITH_TINY_VAE = {subgraph: (subgraph,) for subgraph in ENGINES_OF_SUBGRAPH}
_VAE_ENGINE_BYTES = 1 << 30


@dataclass(frozen=True)
class EngineBuilder:
    """Builds the engines and prompts of one checkpoint, or loads them from the cache."""

    card: ModelCard
    weights_sha256: str
    weights_bytes: int
    profile: Profile
    compiler: Compiler
    reference: TorchReference
    tiny_vae: bool = False

    def load_engine(self, name: str, cache: EngineCache) -> Step:
        """A compiled graph of `ENGINES_OF_SUBGRAPH`, from the cache or built now."""
        needed = self.weights_bytes if name == "transformer" else _VAE_ENGINE_BYTES
        build = functools.partial(self._build, name)
        return cache.load(self.key(name), build, self._read, needs_bytes=needed)

    def load_prompts(self, cache: EngineCache) -> dict[Task, Tensor]:
        """Keys and values of every prompt, from the cache or computed now."""

        def build(path: Path) -> dict[str, str]:
            save_file(self.reference.prompts, path)
            return {}

        def read(path: Path) -> dict[str, Tensor]:
            return load_file(path, device=str(self.compiler.device))

        prompts = cache.load(self.key("prompts", "prompts"), build, read, needs_bytes=64 << 20)
        return {Task(name): prompt for name, prompt in prompts.items()}

    def key(self, name: str, engine: str = "tensorrt") -> EngineKey:
        """Everything that a cached file depends on."""
        return EngineKey(
            engine=engine,
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=f"{self.profile.name}-{name}",
            precision=str(PRECISION).removeprefix("torch."),
            device=self.compiler.gpu(),
            versions=build_versions(self.compiler, "genception", "diffusers"),
        )

    def _build(self, name: str, path: Path) -> dict[str, str]:
        """Compile one graph to ``path`` and compare it with PyTorch."""
        checkpoint = f"{self.card.name} {self.profile.name}"
        log.info(
            "Building the TensorRT engine %r of %s, once; this takes minutes.", name, checkpoint
        )
        module, inputs = self.reference.module(name), self.reference.inputs[name]
        self.compiler.build(module, inputs, path)
        with torch.no_grad():
            expected = _as_sequence(module(*inputs))
        error = relative_l2_error(self._read(path)(*inputs), expected)
        if not error <= TOLERANCE:
            raise VerificationError(
                f"The TensorRT engine {name!r} differs from PyTorch by {error:.1e}, more than "
                f"{TOLERANCE:.0e}."
            )
        return {"difference": f"{error:.1e}", "tolerance": f"{TOLERANCE:.0e}"}

    def _read(self, path: Path) -> Step:
        return _with_copied_outputs(self.compiler.load(path))


def _with_copied_outputs(run: Run) -> Step:
    def step(*inputs: Tensor) -> Tensors:
        # CUDA graphs write the outputs of every call to the same memory, but the VAE's feature
        # cache and the prediction of one task are needed after the next call.
        outputs = _as_sequence(run(*(each.contiguous() for each in inputs)))
        return tuple(output.clone() for output in outputs)

    return step


def _as_sequence(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


class CompiledNetwork:
    """Compiled engines as a `runner.GenceptionNetwork`."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        fallback_reason: str | None,
        device: torch.device,
        subgraphs: Mapping[str, Step],
        prompts: Mapping[Task, Tensor],
    ) -> None:
        """Assemble a network.

        Args:
            card: of the checkpoint.
            description: see `runner.GenceptionNetwork`.
            fallback_reason: see `runner.GenceptionNetwork`.
            device: of inputs and outputs.
            subgraphs: by the names of `ENGINES_OF_SUBGRAPH`. "decoder" may be missing: then the
                network predicts tokens and latents only.
            prompts: `prompt_key_values` of every task.
        """
        self.card, self.description = card, description
        self.fallback_reason = fallback_reason
        self.device, self.dtype = device, PRECISION
        self._subgraphs, self._prompts = dict(subgraphs), dict(prompts)

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """See `runner.GenceptionNetwork`."""
        return self._subgraphs["encoder"](video)[0]

    def predict(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One forward pass with the prompt of ``task``."""
        return GenceptionOutputs(*self._subgraphs["transformer"](latents, self._prompts[task]))

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """See `runner.GenceptionNetwork`; EngineError if the network has no decoder."""
        if "decoder" not in self._subgraphs:
            raise EngineError("This network has no decoder: load it with dense=True.")
        return self._subgraphs["decoder"](latents)[0]


def load_compiled(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    load: Callable[[], GenceptionCheckpoint],
    *,
    dense: bool = True,
    tiny_vae: Path | None = None,
) -> CompiledNetwork:
    """Load the engines of a full-size checkpoint; build those that the cache does not have.

    A subgraph that cannot be compiled, or whose outputs differ from PyTorch's, is run by PyTorch;
    the log, the description and ``fallback_reason`` say so.

    Args:
        checkpoint: to run in the profile on its card.
        cache: of engines.
        compiler: builds them.
        load: see `TorchReference`.
        dense: False leaves out the decoder, which is half of the cost, if only tokens are needed.
        tiny_vae: weights file of the tiny VAE, if ``load`` uses it instead of the VAE.

    Raises:
        Exception: the error of the last subgraph if all failed, or of loading the prompts.
    """
    card = checkpoint.card
    profile = Profile(card.window, *card.frame_size)
    builder = EngineBuilder(
        card=card,
        weights_sha256=checkpoint.sha256() + (f"+{sha256_of(tiny_vae)}" if tiny_vae else ""),
        weights_bytes=checkpoint.path.stat().st_size,
        profile=profile,
        compiler=compiler,
        reference=TorchReference(load, profile),
        tiny_vae=tiny_vae is not None,
    )
    prompts = builder.load_prompts(cache)
    names = list(ENGINES_OF_SUBGRAPH) if dense else ["encoder", "transformer"]
    subgraphs, reasons = _load_subgraphs(builder, cache, names)
    fallback_reason = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or None
    network = CompiledNetwork(
        card, _description(builder, reasons), fallback_reason, compiler.device, subgraphs, prompts
    )
    _warm_up(network, profile, dense)
    return network


def _load_subgraphs(
    builder: EngineBuilder, cache: EngineCache, names: list[str]
) -> tuple[dict[str, Step], dict[str, str]]:
    """The named subgraphs, and for those that PyTorch runs the reason; raises if all failed."""
    subgraphs: dict[str, Step] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            subgraphs[name] = _load_subgraph(name, builder, cache)
        except Exception as error:
            log.warning("PyTorch runs the %s: %s", name, error)
            reasons[name] = first_line(error)
            if len(reasons) == len(names):
                raise
            subgraphs[name] = _with_copied_outputs(builder.reference.module(name))
    return subgraphs, reasons


def _load_subgraph(subgraph: str, builder: EngineBuilder, cache: EngineCache) -> Step:
    names = (ENGINES_WITH_TINY_VAE if builder.tiny_vae else ENGINES_OF_SUBGRAPH)[subgraph]
    first, *later = (builder.load_engine(name, cache) for name in names)
    if not later:
        return first
    steps = VaeSteps(first, later[0], VAE_TEMPORAL if subgraph == "encoder" else 1)
    return lambda x: (steps.run(x),)


def _description(builder: EngineBuilder, reasons: Mapping[str, str]) -> str:
    compiler = builder.compiler
    text = f"TensorRT {dict(compiler.libraries())['tensorrt']}, {compiler.gpu()}"
    text += f", {str(PRECISION)[6:]}, {builder.profile.name}"
    text += ", tiny VAE" if builder.tiny_vae else ""
    for subgraph, reason in reasons.items():
        text += f" (PyTorch instead of tensorrt for the {subgraph}: {reason})"
    return text


@torch.inference_mode()
def _warm_up(network: CompiledNetwork, profile: Profile, dense: bool) -> None:
    """Run once: the first run is slow and may run out of memory, so not in a callback."""
    latents = network.encode(fixed_video(profile, network.device, network.dtype))
    for task in network.card.tasks[:1]:
        predicted = network.predict(latents, task).video_latents
        if dense:
            network.decode(predicted)
