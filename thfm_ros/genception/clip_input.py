# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Camera frames to the input clip of the full-size network, and its maps back to the frames.

The network takes a fixed number of frames of a fixed size. Images are letterboxed, never
stretched (the released code stretches: `as_released` does the same, for comparisons). A stream is
processed in a sliding window; each frame is published once.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad

from thfm_ros.contract import PADDING_GREY, PixelMap
from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

T = TypeVar("T")

SIZE_MULTIPLE = VAE_SPATIAL * 2
"""Image sides are multiples of this many pixels: latent cells of 8 pixels, patches of 2 cells."""


def check_window(length: int) -> None:
    """Reject a number of frames that the VAE cannot encode.

    Raises:
        GenceptionError: ``length`` is not 1 + 4 k with k of at least 1; the message names lengths
            that are.
    """
    if length < 1 + VAE_TEMPORAL or length % VAE_TEMPORAL != 1:
        below = max(1 + VAE_TEMPORAL, (length - 1) // VAE_TEMPORAL * VAE_TEMPORAL + 1)
        raise GenceptionError(
            f"A window of {length} frames does not fit the VAE, which takes 1 + 4 k frames, at "
            f"least 5: use {below} or {below + VAE_TEMPORAL}. The public weights were trained "
            "on 81."
        )


def check_size(width: int, height: int) -> None:
    """Reject an image size in pixels that is not a whole number of patches.

    Raises:
        GenceptionError: a side is not a multiple of `SIZE_MULTIPLE`; the message names a size
            that fits.
    """
    if (
        width < SIZE_MULTIPLE
        or height < SIZE_MULTIPLE
        or width % SIZE_MULTIPLE
        or height % SIZE_MULTIPLE
    ):
        wide, tall = (
            max(SIZE_MULTIPLE, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE)
            for side in (width, height)
        )
        raise GenceptionError(
            f"Images of {width}x{height} cannot be divided into patches: both sides must be "
            f"multiples of {SIZE_MULTIPLE}. Use {wide}x{tall}; the public weights were trained on "
            "832x480."
        )


def letterbox(width: int, height: int, size: tuple[int, int]) -> PixelMap:
    """The map from a network image to a source image that shows all of the source, centred.

    Args:
        width: of the source image, in pixels.
        height: of the source image, in pixels.
        size: (width, height) of the network image. It covers a whole number of source pixels, so
            that one scale is exact for both sides.

    Raises:
        GenceptionError: see `check_size`.
    """
    check_size(*size)
    divisor = math.gcd(*size)
    units = max(math.ceil(width * divisor / size[0]), math.ceil(height * divisor / size[1]))
    extent = (size[0] // divisor * units, size[1] // divisor * units)
    return PixelMap(
        scale=units / divisor,
        offset_x=float((width - extent[0]) // 2),
        offset_y=float((height - extent[1]) // 2),
        width=size[0],
        height=size[1],
    )


def frames_to_network(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]],
    pixel_map: PixelMap,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "1 3 t h w"]:
    """Letterboxed frames as the VAE takes them: RGB in -1..1, grey bars outside the image.

    Each frame is uploaded once, as bytes, and resized on the device.

    Raises:
        GenceptionError: the frames differ in size or are not uint8 RGB.
    """
    height, width = frames[0].shape[:2]
    if any(frame.shape != (height, width, 3) or frame.dtype != np.uint8 for frame in frames):
        shapes = sorted({f"{frame.dtype} {list(frame.shape)}" for frame in frames})
        raise GenceptionError(f"A clip needs RGB frames of one size as uint8; got {shapes}.")
    right = round(pixel_map.scale * pixel_map.width) - width + round(pixel_map.offset_x)
    below = round(pixel_map.scale * pixel_map.height) - height + round(pixel_map.offset_y)
    margins = (-round(pixel_map.offset_x), right, -round(pixel_map.offset_y), below)
    images = []
    for frame in frames:
        bytes_ = torch.from_numpy(np.ascontiguousarray(frame)).to(device)
        image = pad(bytes_.permute(2, 0, 1).to(dtype), margins, value=PADDING_GREY)
        images.append(_resize(image[None], pixel_map.width, pixel_map.height)[0])
    return (torch.stack(images, dim=1) / 127.5 - 1).clamp(-1, 1)[None]


def maps_to_source(
    maps: Float[Tensor, "t c h w"], pixel_map: PixelMap, width: int, height: int
) -> Float[Tensor, "t c height width"]:
    """Remove the letterbox bars from maps and resize them to the source image.

    Nearest neighbour: values at depth edges must not be blended, and NaN must not spread.
    """
    x, y = torch.arange(width, device=maps.device), torch.arange(height, device=maps.device)
    columns = ((x + 0.5 - pixel_map.offset_x) / pixel_map.scale).floor().long()
    rows = ((y + 0.5 - pixel_map.offset_y) / pixel_map.scale).floor().long()
    columns, rows = columns.clamp(0, pixel_map.width - 1), rows.clamp(0, pixel_map.height - 1)
    return maps[:, :, rows][..., columns]


def as_released(
    video: UInt8[np.ndarray, "t h w 3"], length: int = 81, size: tuple[int, int] = (832, 480)
) -> Float[Tensor, "1 3 t h w"]:
    """The input clip as the released code prepares it, RGB in -1..1, to compare with its results.

    Images are stretched to ``size`` (width, height). A longer video is subsampled evenly to
    ``length`` frames, a shorter one padded with its last frame. The node uses `letterbox` and
    `ClipWindow` instead.

    Raises:
        GenceptionError: see `check_window` and `check_size`.
    """
    check_window(length)
    check_size(*size)
    count = len(video)
    if count > length:
        indices = np.linspace(0, count - 1, length, dtype=int)  # rounded down, as in that code
    else:
        indices = np.minimum(np.arange(length), count - 1)
    frames = torch.from_numpy(np.ascontiguousarray(video[indices])).permute(0, 3, 1, 2).float()
    resized = _resize(frames, *size) / 255
    return (resized * 2 - 1).permute(1, 0, 2, 3)[None]


def _resize(images: Tensor, width: int, height: int) -> Tensor:
    if images.shape[-2:] != (height, width):
        # Antialiased bilinear, as the official code's resize.
        size = (height, width)
        images = interpolate(images, size=size, mode="bilinear", antialias=True)
    return images


@dataclass(frozen=True, slots=True)
class PassInput(Generic[T]):
    """The frames of one forward pass, and which of them have not been published yet."""

    items: tuple[T, ...]  # as long as the window, oldest first; padded with copies of the last
    new: range  # indices into ``items`` whose results are to be published
    skipped: int  # frames since the previous pass that left the window without being processed


class ClipWindow(Generic[T]):
    """Sliding window over one continuous stream; each frame is published at most once.

    Push every frame and take the input of a pass when it is ready. If `take` is called late, the
    oldest frames are skipped (and counted) so that the newest ones are processed. A new stream
    needs a new window.
    """

    def __init__(self, length: int, stride: int) -> None:
        """Create an empty window.

        Args:
            length: frames per pass; see `check_window`.
            stride: new frames per pass, 1 to ``length``. The first pass needs ``length`` frames.

        Raises:
            GenceptionError: either is out of range.
        """
        check_window(length)
        if not 1 <= stride <= length:
            raise GenceptionError(
                f"A stride of {stride} frames does not fit a window of {length}: use 1 to "
                f"{length}. A smaller stride needs more passes and gives each frame more context."
            )
        self._length, self._stride = length, stride
        self._items: deque[T] = deque(maxlen=length)
        self._pending = 0  # frames since the last pass, including those that left the window
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether `take` returns an input."""
        return self._pending >= (self._stride if self._started else self._length)

    def push(self, item: T) -> None:
        """Add the next frame."""
        self._items.append(item)
        self._pending += 1

    def take(self, *, flush: bool = False) -> PassInput[T] | None:
        """The input of the next pass, or None if too few frames are new.

        ``flush``: at the end of a stream, return the remaining frames even if they are fewer.
        """
        if not (self.ready or (flush and self._pending)):
            return None
        count, pending = len(self._items), self._pending
        self._pending, self._started = 0, True
        padding = (self._items[-1],) * (self._length - count)
        new = min(pending, count)
        return PassInput((*self._items, *padding), range(count - new, count), pending - new)


def pass_inputs(items: Sequence[T], length: int, stride: int) -> list[PassInput[T]]:
    """The inputs of all passes over a recorded stream, as if taken as soon as each is ready."""
    window = ClipWindow[T](length, stride)
    inputs = []
    for item in items:
        window.push(item)
        if taken := window.take():
            inputs.append(taken)
    if taken := window.take(flush=True):
        inputs.append(taken)
    return inputs
