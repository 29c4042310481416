# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""TAEHV, a small replacement for the VAE of Wan 2.1, with the weights layout of taew2_1.

The Wan VAE is three quarters of the operations of a dense prediction. This autoencoder encodes to
the same latents at a fraction of that, with eleven million parameters in 2D convolutions that see
the current and the previous frame. It was trained by others to preview generated videos; its
accuracy on encoded depth and normals has not been measured. Its latents are normalized: see
`TinyVae`.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

# Mean and standard deviation of the Wan 2.1 VAE's latents, by channel.
WAN_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)
_WIDTHS = (256, 128, 64, 64)


class _MemBlock(nn.Module):
    """Residual block over each frame and the previous one (zeros before the first frame)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(_conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU()),
            _conv(width, width),
        )

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t c h w"]:
        previous = pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        both = torch.cat((x, previous), dim=2).flatten(0, 1)
        return torch.relu(self.conv(both).reshape(x.shape) + x)


class _TemporalPool(nn.Module):
    """Merges ``stride`` frames into one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Tensor:
        batch, frames, width, *size = x.shape
        merged = x.reshape(batch * frames // self.stride, self.stride * width, *size)
        out: Tensor = self.conv(merged)
        return out.reshape(batch, frames // self.stride, width, *size)


class _TemporalGrow(nn.Module):
    """Expands one frame to ``stride``."""

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
        layers += [_TemporalPool(64, stride), _conv(64, 64, 2, bias=False)]
        layers += [_MemBlock(64) for _ in range(3)]
    return nn.Sequential(*layers, _conv(64, channels))


def _decoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [_SoftClamp(), _conv(channels, _WIDTHS[0]), nn.ReLU()]
    for width, after, stride in zip(_WIDTHS[:-1], _WIDTHS[1:], (1, 2, 2), strict=True):
        layers += [_MemBlock(width) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _TemporalGrow(width, stride)]
        layers += [_conv(width, after, bias=False)]
    return nn.Sequential(*layers, nn.ReLU(), _conv(_WIDTHS[-1], 3))


def _apply(layers: nn.Sequential, x: Float[Tensor, "b t c h w"]) -> Tensor:
    for layer in layers:
        if isinstance(layer, _MemBlock | _TemporalPool | _TemporalGrow):
            x = layer(x)
        else:
            y = layer(x.flatten(0, 1))
            x = y.reshape(*x.shape[:2], *y.shape[1:])
    return x


class TinyVae(nn.Module):
    """Encodes video to latents and decodes it, with the interface of `WanVae`."""

    def __init__(self, *, normalize_latents: bool = False) -> None:
        """Create the layers.

        Args:
            normalize_latents: as in `WanVae`; the public networks take raw latents. The layers
                compute with normalized latents, so raw ones are converted.
        """
        super().__init__()
        self.encoder = _encoder(len(WAN_MEAN))
        self.decoder = _decoder(len(WAN_MEAN))
        self.normalize_latents = normalize_latents
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", WAN_MEAN), ("std", WAN_STD)):
            per_channel = torch.tensor(values).reshape(1, -1, 1, 1, 1)
            self.register_buffer(name, per_channel, persistent=False)

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 16 s i j"]:
        """See `WanVae.encode`. The last frame is repeated to fill the last latent frame."""
        frames, height, width = video.shape[2:]
        if frames % VAE_TEMPORAL != 1 or height % VAE_SPATIAL or width % VAE_SPATIAL:
            raise GenceptionError(
                f"The clip has {frames} frames of {width}x{height}; the VAE takes 1 + 4 k frames "
                "with sides that are multiples of 8. Use thfm_ros.genception.clip_input."
            )
        rgb = (video.transpose(1, 2) + 1) / 2
        last = rgb[:, -1:].expand(-1, VAE_TEMPORAL - 1, -1, -1, -1)
        latents = _apply(self.encoder, torch.cat((rgb, last), dim=1)).transpose(1, 2)
        return latents if self.normalize_latents else latents * self.std + self.mean

    def decode(self, latents: Float[Tensor, "b 16 s i j"]) -> Float[Tensor, "b 3 t h w"]:
        """See `WanVae.decode`. The first three decoded frames precede the clip and are dropped."""
        normalized = latents if self.normalize_latents else (latents - self.mean) / self.std
        rgb = _apply(self.decoder, normalized.transpose(1, 2)).clamp(0, 1)
        return (rgb[:, VAE_TEMPORAL - 1 :] * 2 - 1).transpose(1, 2)


def load_tiny_vae(
    path: Path, *, normalize_latents: bool = False, dtype: torch.dtype = torch.float32
) -> TinyVae:
    """Load ``taew2_1.pth`` or ``taew2_1.safetensors`` and check every key and shape.

    Raises:
        GenceptionError: the file cannot be read, or is of another network.
    """
    vae = TinyVae(normalize_latents=normalize_latents)
    try:
        state = _read_state(path)
        expected = vae.state_dict()
        for name, value in state.items():
            if name in expected and len(value) > len(expected[name]):
                # One layer is published with twice the channels, for a temporal upsampling that
                # Wan 2.1 does not have; its second half is used.
                state[name] = value[-len(expected[name]) :]
        vae.load_state_dict(state, strict=True)
    except (OSError, RuntimeError, ValueError, AttributeError, KeyError, EOFError) as error:
        raise GenceptionError(
            f"{path} is not the tiny VAE of Wan 2.1 ({error}). Use taew2_1.pth or "
            "safetensors/taew2_1.safetensors of the repository madebyollin/taehv."
        ) from error
    return vae.to(dtype).eval().requires_grad_(False)


def _read_state(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return dict(torch.load(path, map_location="cpu", weights_only=True))
