"""The full-size network cut into graphs of fixed shapes, for torch.export and what follows it.

`GenceptionParts` holds three modules: encoder, transformer, decoder. All that does not depend on
the clip (timestep, positions) is computed once and becomes a constant. So do the prompt's keys and
values, either inside the graph or, for one graph that answers several prompts, beside it.
The VAE unrolls over time, so its two graphs grow with the window, weights and all; for long windows
the same work comes in steps of one latent frame: `genception_steps`.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.attention import TextKeys, text_keys
from thfm_ros.genception.clip_input import check_size, check_window
from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError
from thfm_ros.genception.prompt_files import LENGTH
from thfm_ros.genception.rope import Grid, Positions
from thfm_ros.genception.tiny_vae import TinyCodec
from thfm_ros.genception.transformer import Condition, GenceptionTransformer
from thfm_ros.genception.vae_steps import CodecSteps, DecoderStep, EncoderStep, Tensors
from thfm_ros.genception.wan_vae import WanCodec

PromptText: TypeAlias = Float[Tensor, "blocks 2 1 heads l d"]
"""Keys and values of one prompt for every block."""


@dataclass(frozen=True)
class Profile:
    """The one shape that a set of graphs is for: a window of images, batch 1."""

    frames: int = 81
    width: int = 832
    height: int = 480

    def __post_init__(self) -> None:
        """Refuse what the VAE and the patches cannot tile."""
        check_window(self.frames)
        check_size(self.width, self.height)

    @property
    def name(self) -> str:
        """For file names and tables: "832x480x81"."""
        return f"{self.width}x{self.height}x{self.frames}"

    @classmethod
    def from_text(cls, text: str) -> "Profile":
        """Read "832x480x17"."""
        try:
            width, height, frames = (int(part) for part in text.split("x"))
        except ValueError as error:
            raise GenceptionError(
                f"{text!r} is no profile: expected WIDTHxHEIGHTxFRAMES, such as 832x480x17."
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
    """Video [1, 3, t, h, w] in -1..1 to latents, unrolled over time."""

    def __init__(self, codec: WanCodec | TinyCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Tensor:
        """See `WanCodec.encode`."""
        return self.codec.encode(video)


class StaticDecoder(nn.Module):
    """Latents to video in -1..1, unrolled over time."""

    def __init__(self, codec: WanCodec | TinyCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, latents: Float[Tensor, "b z s i j"]) -> Tensor:
        """See `WanCodec.decode`."""
        return self.codec.decode(latents)


class StaticTransformer(nn.Module):
    """One grid, timestep 0; a prompt is known by its keys and values, inside the graph or not."""

    cos: Tensor
    sin: Tensor
    temb: Tensor
    modulation: Tensor
    text: Tensor | None

    def __init__(
        self, network: GenceptionTransformer, grid: Grid, text: PromptText | None = None
    ) -> None:
        """``text`` becomes a constant; without it every call has to bring its own."""
        super().__init__()
        self.network = network
        positions = network.positions(grid)
        self._counts = (positions.video, positions.groups)
        # The embeddings of time do not depend on the prompt, so any will do.
        nothing = network.group1.token.new_zeros(1, 1, network.config.text_dim)
        condition = network.condition(nothing)
        constants = {
            "cos": positions.cos,
            "sin": positions.sin,
            "temb": condition.temb,
            "modulation": condition.modulation,
            "text": text,
        }
        for name, value in constants.items():
            kept = None if value is None else value.detach().clone()
            self.register_buffer(name, kept, persistent=False)

    def forward(
        self, latents: Float[Tensor, "1 z s i j"], text: PromptText | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Video latents and both token tables; ``text`` only if none was folded in."""
        known = self.text if text is None else text
        if known is None:
            raise ValueError("no prompt was folded in, so each call needs one: see prompt_text")
        keys = tuple(TextKeys(known[n, 0], known[n, 1]) for n in range(len(known)))
        positions = Positions(self.cos, self.sin, *self._counts)
        condition = Condition(self.temb, self.modulation, keys)
        return tuple(self.network.run(latents, positions, condition))  # type: ignore[return-value]


def prompt_text(
    network: GenceptionTransformer, prompt_embeds: Float[Tensor, "1 l text_dim"]
) -> PromptText:
    """All that the blocks want to know of a prompt: 42 MB for the public 1.3b in bfloat16."""
    text = network.condition(prompt_embeds).text
    assert isinstance(text, Tensor)
    each = [torch.stack(text_keys(block.attn2, text)) for block in network.wan.blocks]
    return torch.stack(each)


@dataclass(frozen=True)
class GenceptionParts:
    """The graphs of one profile; run encoder, transformer, decoder in this order.

    Whoever wants only the tokens leaves out the decoder, which is half of the cost.
    """

    profile: Profile
    encoder: StaticEncoder
    transformer: StaticTransformer
    decoder: StaticDecoder
    prompt_length: int

    @property
    def vae(self) -> WanCodec:
        """The codec, if it is one that has steps; GenceptionError otherwise."""
        codec = self.encoder.codec
        if isinstance(codec, WanCodec):
            return codec
        raise GenceptionError(
            "Only the VAE runs in steps; the small codec does not grow with time."
        )

    @property
    def encoder_steps(self) -> CodecSteps:
        """One graph for the first image, one for every four."""
        step = EncoderStep(self.vae).eval()
        return CodecSteps(step, step, VAE_TEMPORAL)

    @property
    def decoder_steps(self) -> CodecSteps:
        """One graph for the first latent frame, one for the others."""
        step = DecoderStep(self.vae).eval()
        return CodecSteps(step, step, 1)

    def examples(self) -> dict[str, Tensors]:
        """Inputs of the three modules in the right shapes, for torch.export."""
        network = self.transformer.network
        token, config = network.group1.token, network.config
        latents = token.new_zeros(self.profile.latent_shape(config.in_channels))
        heads = (config.num_attention_heads, self.prompt_length, config.attention_head_dim)
        text = token.new_zeros(config.num_layers, 2, 1, *heads)
        folded = self.transformer.text is not None
        return {
            "encoder": (token.new_zeros(self.profile.video_shape),),
            "transformer": (latents,) if folded else (latents, text),
            "decoder": (latents,),
        }

    def step_examples(self) -> dict[str, Tensors]:
        """Inputs of the steps, memory included: "encoder_first", ..., "decoder_later"."""
        found: dict[str, Tensors] = {}
        for name, steps in (("encoder", self.encoder_steps), ("decoder", self.decoder_steps)):
            first, later = steps.examples(*self.examples()[name])
            found |= {f"{name}_first": first, f"{name}_later": later}
        return found


def make_parts(
    transformer: GenceptionTransformer,
    codec: WanCodec | TinyCodec,
    profile: Profile,
    prompt_embeds: Float[Tensor, "1 l d"] | None = None,
    *,
    prompt_length: int = LENGTH,
) -> GenceptionParts:
    """Cut a loaded network into graphs.

    Args:
        transformer: of the precision that the graphs are to have.
        codec: of the same.
        profile: the one shape.
        prompt_embeds: becomes part of the graph, which then answers this prompt only. Without it
            the graph takes a prompt's `prompt_text` as its second input.
        prompt_length: rows of the prompts that it is going to take.
    """
    latents = transformer.group1.token.new_empty(
        profile.latent_shape(transformer.config.in_channels), device="meta"
    )
    with torch.no_grad():
        text = None if prompt_embeds is None else prompt_text(transformer, prompt_embeds)
        static = StaticTransformer(transformer, transformer.grid_of(latents), text)
    encoder, decoder = StaticEncoder(codec).eval(), StaticDecoder(codec).eval()
    return GenceptionParts(profile, encoder, static.eval(), decoder, prompt_length)
