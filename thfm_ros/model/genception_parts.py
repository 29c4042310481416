"""The full-size network cut into graphs of fixed shapes, for torch.export and what follows it.

`GenceptionParts` holds three modules: encoder, transformer, decoder. All that does not depend on
the clip (timestep, positions) is computed once and becomes a constant. So do the prompt's keys and
values, either inside the graph or, for one graph that answers several prompts, beside it.
The codec unrolls over time, so its two graphs grow with the window, weights and all; for long
windows the same work comes in steps of one latent frame, `CodecSteps`, whose memory of the past
is an input and an output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.clip_input import check_size, check_window
from thfm_ros.model.genception import Condition, GenceptionTransformer
from thfm_ros.model.genception_attention import TextKeys, text_keys
from thfm_ros.model.genception_config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError
from thfm_ros.model.genception_prompts import LENGTH
from thfm_ros.model.genception_rope import Grid, Positions
from thfm_ros.model.wan_codec import Cache, WanCodec

Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[..., Tensors]
PromptText: TypeAlias = Float[Tensor, "blocks 2 1 heads l d"]
"""Keys and values of one prompt for every block."""


@dataclass(frozen=True)
class Profile:
    """The one shape that a set of graphs is for: a window of pictures, batch 1."""

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

    def __init__(self, codec: WanCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Tensor:
        """See `WanCodec.encode`."""
        return self.codec.encode(video)


class StaticDecoder(nn.Module):
    """Latents to video in -1..1, unrolled over time."""

    def __init__(self, codec: WanCodec) -> None:
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


class EncoderStep(nn.Module):
    """One latent frame: the first picture of a clip, or four more and what is remembered."""

    def __init__(self, codec: WanCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, video: Float[Tensor, "b 3 n h w"], *memory: Tensor) -> Tensors:
        """Latents [b, z, 1, h/8, w/8], then the memory for the next step."""
        cache = _as_cache(memory, self.codec.encoder_slots)
        latents = self.codec.encode_chunk(video, cache)
        return latents, *_as_memory(cache, [])


class DecoderStep(nn.Module):
    """One latent frame to one picture (the first of a clip) or four."""

    def __init__(self, codec: WanCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, latents: Float[Tensor, "b z 1 i j"], *memory: Tensor) -> Tensors:
        """Pictures [b, 3, 1 or 4, h, w], then the memory for the next step."""
        cache = _as_cache(memory, self.codec.decoder_slots)
        video = self.codec.decode_chunk(latents, cache)
        return video, *_as_memory(cache, self.codec.empty_doublings(latents))


def _as_cache(memory: Tensors, slots: int) -> Cache:
    return [*memory, *[None] * (slots - len(memory))]


def _as_memory(cache: Cache, empty: list[Tensor]) -> Tensors:
    """Two frames each, so that every step but the first has inputs of the same shapes.

    diffusers keeps one frame where there has been but one, and marks a doubling in time that has
    seen nothing by the text "Rep". Frames of zeros before say the same: causal padding is zeros.
    """
    waiting = iter(empty)
    known = (next(waiting) if isinstance(x, str) else x for x in cache if x is not None)
    return tuple(x if x.shape[2] == 2 else torch.cat((torch.zeros_like(x), x), 2) for x in known)


@dataclass(frozen=True)
class CodecSteps:
    """One half of the codec as two graphs: the first step, and every later one."""

    first: Step
    later: Step
    chunk: int  # frames of input that a later step takes

    def run(self, x: Float[Tensor, "b c t h w"]) -> Tensor:
        """The whole clip, step by step; the same as the unrolled half."""
        out, *memory = self.first(x[:, :, :1])
        parts = [out]
        for start in range(1, x.shape[2], self.chunk):
            out, *memory = self.later(x[:, :, start : start + self.chunk], *memory)
            parts.append(out)
        return torch.cat(parts, dim=2)


@dataclass(frozen=True)
class GenceptionParts:
    """The graphs of one profile; run encoder, transformer, decoder in this order.

    Whoever wants only the tokens leaves out the decoder, which is half of the cost.
    """

    profile: Profile
    encoder: StaticEncoder
    transformer: StaticTransformer
    decoder: StaticDecoder
    encoder_steps: CodecSteps
    decoder_steps: CodecSteps
    prompt_length: int

    def examples(self) -> dict[str, Tensors]:
        """Inputs of the three modules in the right shapes, for torch.export."""
        token = self.transformer.network.group1.token
        config = self.transformer.network.config
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
        video, latents = self.examples()["encoder"][0], self.examples()["decoder"][0]
        found: dict[str, Tensors] = {}
        with torch.no_grad():
            for name, steps, x in (
                ("encoder", self.encoder_steps, video),
                ("decoder", self.decoder_steps, latents),
            ):
                found[f"{name}_first"] = (x[:, :, :1],)
                memory = steps.first(x[:, :, :1])[1:]
                found[f"{name}_later"] = (x[:, :, 1 : 1 + steps.chunk], *memory)
        return found


def make_parts(
    transformer: GenceptionTransformer,
    codec: WanCodec,
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
    encoder, decoder = EncoderStep(codec).eval(), DecoderStep(codec).eval()
    return GenceptionParts(
        profile,
        StaticEncoder(codec).eval(),
        static.eval(),
        StaticDecoder(codec).eval(),
        CodecSteps(encoder, encoder, VAE_TEMPORAL),
        CodecSteps(decoder, decoder, 1),
        prompt_length,
    )
