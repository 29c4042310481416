"""A small stand-in for the video codec, in the layout of TAEHV's weights for Wan 2.1 (taew2_1).

The Wan VAE is three quarters of the work of a dense answer. This one, eleven million parameters
of plain 2D convolutions that each see one frame back, does the same latents for a fraction.
It was trained by others to preview generated videos; how well it carries painted depth and
normals has not been measured. Its latents are standardised: see `TinyCodec`.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

# Of the Wan 2.1 VAE, channel by channel: its latents minus this, divided by that, are standard.
WAN_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)
_WIDTHS = (256, 128, 64, 64)


class _OneBack(nn.Module):
    """A residual block that sees each frame and the one before it; before the first is nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(_conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU()),
            _conv(width, width),
        )

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t c h w"]:
        before = pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        both = torch.cat((x, before), dim=2).flatten(0, 1)
        return torch.relu(self.conv(both).reshape(x.shape) + x)


class _FewerFrames(nn.Module):
    """``stride`` frames become one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Tensor:
        batch, frames, width, *size = x.shape
        merged = x.reshape(batch * frames // self.stride, self.stride * width, *size)
        out: Tensor = self.conv(merged)
        return out.reshape(batch, frames // self.stride, width, *size)


class _MoreFrames(nn.Module):
    """One frame becomes ``stride``."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Tensor:
        batch, frames, width, *size = x.shape
        out: Tensor = self.conv(x.flatten(0, 1))
        return out.reshape(batch, frames * self.stride, width, *size)


class _SoftClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


def _encoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, 64), nn.ReLU()]
    for stride in (2, 2, 1):
        layers += [_FewerFrames(64, stride), _conv(64, 64, 2, bias=False)]
        layers += [_OneBack(64) for _ in range(3)]
    return nn.Sequential(*layers, _conv(64, channels))


def _decoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [_SoftClamp(), _conv(channels, _WIDTHS[0]), nn.ReLU()]
    for width, after, stride in zip(_WIDTHS[:-1], _WIDTHS[1:], (1, 2, 2), strict=True):
        layers += [_OneBack(width) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _MoreFrames(width, stride)]
        layers += [_conv(width, after, bias=False)]
    return nn.Sequential(*layers, nn.ReLU(), _conv(_WIDTHS[-1], 3))


def _through(layers: nn.Sequential, x: Float[Tensor, "b t c h w"]) -> Tensor:
    for layer in layers:
        if isinstance(layer, _OneBack | _FewerFrames | _MoreFrames):
            x = layer(x)
        else:
            y = layer(x.flatten(0, 1))
            x = y.reshape(*x.shape[:2], *y.shape[1:])
    return x


class TinyCodec(nn.Module):
    """Videos to latents and back, with the surface of `WanCodec`."""

    def __init__(self, *, standardised: bool = False) -> None:
        """Build it empty; ``standardised`` as in `WanCodec`: the public networks take raw latents.

        Unlike the Wan VAE this one speaks standardised latents, so raw ones are converted.
        """
        super().__init__()
        self.encoder = _encoder(len(WAN_MEAN))
        self.decoder = _decoder(len(WAN_MEAN))
        self.standardised = standardised
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", WAN_MEAN), ("std", WAN_STD)):
            shaped = torch.tensor(values).reshape(1, -1, 1, 1, 1)
            self.register_buffer(name, shaped, persistent=False)

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 16 s i j"]:
        """See `WanCodec.encode`. The last frame is repeated to fill the last latent frame."""
        frames, height, width = video.shape[2:]
        if frames % VAE_TEMPORAL != 1 or height % VAE_SPATIAL or width % VAE_SPATIAL:
            raise GenceptionError(
                f"A clip is {frames} frames of {width}x{height}; the codec takes 1 + 4 k frames "
                "with sides that are multiples of 8. thfm_ros.genception.clip_input makes it fit."
            )
        images = (video.transpose(1, 2) + 1) / 2
        last = images[:, -1:].expand(-1, VAE_TEMPORAL - 1, -1, -1, -1)
        latents = _through(self.encoder, torch.cat((images, last), dim=1)).transpose(1, 2)
        return latents if self.standardised else latents * self.std + self.mean

    def decode(self, latents: Float[Tensor, "b 16 s i j"]) -> Float[Tensor, "b 3 t h w"]:
        """See `WanCodec.decode`. Three frames before the first are computed and left out."""
        standard = latents if self.standardised else (latents - self.mean) / self.std
        images = _through(self.decoder, standard.transpose(1, 2)).clamp(0, 1)
        return (images[:, VAE_TEMPORAL - 1 :] * 2 - 1).transpose(1, 2)


def load_tiny_codec(
    path: Path, *, standardised: bool = False, dtype: torch.dtype = torch.float32
) -> TinyCodec:
    """Load ``taew2_1.pth`` or ``taew2_1.safetensors``: every key and every shape.

    Raises:
        GenceptionError: it cannot be read, or holds another network.
    """
    codec = TinyCodec(standardised=standardised)
    try:
        state = _read(path)
        wanted = codec.state_dict()
        for name, value in state.items():
            if name in wanted and len(value) > len(wanted[name]):
                # Published for a doubling in time that Wan does not have: the later half is it.
                state[name] = value[-len(wanted[name]) :]
        codec.load_state_dict(state, strict=True)
    except (OSError, RuntimeError, ValueError, AttributeError, KeyError, EOFError) as error:
        raise GenceptionError(
            f"{path} is not the tiny codec of Wan 2.1 ({error}). It is taew2_1.pth or "
            "safetensors/taew2_1.safetensors of the repository madebyollin/taehv."
        ) from error
    return codec.to(dtype).eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return dict(torch.load(path, map_location="cpu", weights_only=True))
