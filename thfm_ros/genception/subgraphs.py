# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network as subgraphs of fixed shapes, for torch.export and compilers.

`GenceptionSubgraphs` holds three modules: encoder, transformer, decoder. Everything that does not
depend on the clip (timestep, positions) is computed once and becomes a constant. The prompt's keys
and values are a constant too, or an input if one graph serves several prompts. The VAE is unrolled
over time, so its two graphs grow with the window; `vae_steps` has the same computation in steps of
one latent frame.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.attention import TextKeyValues, text_key_values
from thfm_ros.genception.clip_input import check_size, check_window
from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError
from thfm_ros.genception.prompt_files import PROMPT_LENGTH
from thfm_ros.genception.rope import Grid, Positions
from thfm_ros.genception.tiny_vae import TinyVae
from thfm_ros.genception.transformer import Condition, GenceptionTransformer
from thfm_ros.genception.vae_steps import DecoderStep, EncoderStep, Tensors, VaeSteps
from thfm_ros.genception.wan_vae import WanVae

PromptKeyValues: TypeAlias = Float[Tensor, "blocks 2 1 heads l d"]
"""Cross-attention keys and values of one prompt in every block."""


@dataclass(frozen=True)
class Profile:
    """Window length and image size (in pixels) that a set of graphs is compiled for; batch 1."""

    frames: int = 81
    width: int = 832
    height: int = 480

    def __post_init__(self) -> None:
        """Reject what the VAE cannot encode or patches cannot divide; see `clip_input`."""
        check_window(self.frames)
        check_size(self.width, self.height)

    @property
    def name(self) -> str:
        """Width, height and frames, for file names and tables: "832x480x81"."""
        return f"{self.width}x{self.height}x{self.frames}"

    @classmethod
    def from_text(cls, text: str) -> "Profile":
        """Parse width, height and frames such as "832x480x17"; GenceptionError if it is invalid."""
        try:
            width, height, frames = (int(part) for part in text.split("x"))
        except ValueError as error:
            raise GenceptionError(
                f"{text!r} is not a profile: expected WIDTHxHEIGHTxFRAMES, such as 832x480x17."
            ) from error
        return cls(frames, width, height)

    @property
    def video_shape(self) -> tuple[int, ...]:
        """[1, 3, frames, height, width]."""
        return 1, 3, self.frames, self.height, self.width

    def latent_shape(self, channels: int = 16) -> tuple[int, ...]:
        """[1, channels, latent frames, rows, columns]."""
        latent_frames = 1 + (self.frames - 1) // VAE_TEMPORAL
        return 1, channels, latent_frames, self.height // VAE_SPATIAL, self.width // VAE_SPATIAL


class StaticEncoder(nn.Module):
    """Encoder of the VAE, unrolled over time."""

    def __init__(self, vae: WanVae | TinyVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Tensor:
        """See `WanVae.encode`."""
        return self.vae.encode(video)


class StaticDecoder(nn.Module):
    """Decoder of the VAE, unrolled over time."""

    def __init__(self, vae: WanVae | TinyVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Float[Tensor, "b z s i j"]) -> Tensor:
        """See `WanVae.decode`."""
        return self.vae.decode(latents)


class StaticTransformer(nn.Module):
    """The transformer for one grid at timestep 0; the prompt is a constant or an input."""

    cos: Tensor
    sin: Tensor
    temb: Tensor
    modulation: Tensor
    prompt: Tensor | None

    def __init__(
        self, network: GenceptionTransformer, grid: Grid, prompt: PromptKeyValues | None = None
    ) -> None:
        """``prompt`` becomes a constant; without it, it is an input of every call."""
        super().__init__()
        self.network = network
        positions = network.positions(grid)
        self._counts = (positions.video_tokens, positions.group_sizes)
        # The time embeddings do not depend on the prompt, so zeros serve.
        any_prompt = network.group1.token.new_zeros(1, 1, network.config.text_dim)
        condition = network.condition(any_prompt)
        constants = {
            "cos": positions.cos,
            "sin": positions.sin,
            "temb": condition.temb,
            "modulation": condition.modulation,
            "prompt": prompt,
        }
        for name, value in constants.items():
            constant = None if value is None else value.detach().clone()
            self.register_buffer(name, constant, persistent=False)

    def forward(
        self, latents: Float[Tensor, "1 z s i j"], prompt: PromptKeyValues | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted video latents and both token tables; ``prompt`` only if it is no constant."""
        key_values = self.prompt if prompt is None else prompt
        if key_values is None:
            raise ValueError("the prompt is an input of this graph: see prompt_key_values")
        blocks = range(len(key_values))
        text = tuple(TextKeyValues(key_values[n, 0], key_values[n, 1]) for n in blocks)
        positions = Positions(self.cos, self.sin, *self._counts)
        condition = Condition(self.temb, self.modulation, text)
        return tuple(self.network.run(latents, positions, condition))  # type: ignore[return-value]


def prompt_key_values(
    network: GenceptionTransformer, prompt_embeds: Float[Tensor, "1 l text_dim"]
) -> PromptKeyValues:
    """Cross-attention keys and values of a prompt: 42 MB for the public 1.3b in bfloat16."""
    text = network.condition(prompt_embeds).text
    assert isinstance(text, Tensor)
    each = [torch.stack(text_key_values(block.attn2, text)) for block in network.wan.blocks]
    return torch.stack(each)


@dataclass(frozen=True)
class GenceptionSubgraphs:
    """The subgraphs of one profile, to be run in the order encoder, transformer, decoder.

    If only the tokens are needed, the decoder can be left out; it is half of the cost.
    """

    profile: Profile
    encoder: StaticEncoder
    transformer: StaticTransformer
    decoder: StaticDecoder
    prompt_length: int

    @property
    def vae(self) -> WanVae:
        """The VAE; GenceptionError if it is a `TinyVae`, which does not run in steps."""
        vae = self.encoder.vae
        if isinstance(vae, WanVae):
            return vae
        raise GenceptionError(
            "Only the Wan VAE runs in steps; the tiny VAE's graphs do not grow with the window."
        )

    @property
    def encoder_steps(self) -> VaeSteps:
        """One graph for the first frame, one for every four later ones."""
        step = EncoderStep(self.vae).eval()
        return VaeSteps(step, step, VAE_TEMPORAL)

    @property
    def decoder_steps(self) -> VaeSteps:
        """One graph for the first latent frame, one for the others."""
        step = DecoderStep(self.vae).eval()
        return VaeSteps(step, step, 1)

    def examples(self) -> dict[str, Tensors]:
        """Example inputs of the three subgraphs, by name, for torch.export."""
        network = self.transformer.network
        token, config = network.group1.token, network.config
        latents = token.new_zeros(self.profile.latent_shape(config.in_channels))
        heads = (config.num_attention_heads, self.prompt_length, config.attention_head_dim)
        prompt = token.new_zeros(config.num_layers, 2, 1, *heads)
        prompt_is_constant = self.transformer.prompt is not None
        return {
            "encoder": (token.new_zeros(self.profile.video_shape),),
            "transformer": (latents,) if prompt_is_constant else (latents, prompt),
            "decoder": (latents,),
        }

    def step_examples(self) -> dict[str, Tensors]:
        """Example inputs of the steps, feature caches included: "encoder_first" etc."""
        inputs: dict[str, Tensors] = {}
        for name, steps in (("encoder", self.encoder_steps), ("decoder", self.decoder_steps)):
            first, later = steps.examples(*self.examples()[name])
            inputs |= {f"{name}_first": first, f"{name}_later": later}
        return inputs


def make_subgraphs(
    transformer: GenceptionTransformer,
    vae: WanVae | TinyVae,
    profile: Profile,
    prompt_embeds: Float[Tensor, "1 l d"] | None = None,
    *,
    prompt_length: int = PROMPT_LENGTH,
) -> GenceptionSubgraphs:
    """Split a loaded network into subgraphs of fixed shapes.

    Args:
        transformer: in the precision that the graphs are to have.
        vae: in the same precision.
        profile: window length and image size.
        prompt_embeds: becomes a constant of the transformer's graph. Without it the graph takes
            the `prompt_key_values` of a prompt as its second input.
        prompt_length: rows of the prompts that are given as input.
    """
    latents = transformer.group1.token.new_empty(
        profile.latent_shape(transformer.config.in_channels), device="meta"
    )
    with torch.no_grad():
        prompt = None if prompt_embeds is None else prompt_key_values(transformer, prompt_embeds)
        static = StaticTransformer(transformer, transformer.grid_of(latents), prompt)
    encoder, decoder = StaticEncoder(vae).eval(), StaticDecoder(vae).eval()
    return GenceptionSubgraphs(profile, encoder, static.eval(), decoder, prompt_length)
