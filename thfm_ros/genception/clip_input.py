"""From camera frames to a clip that the full-size network takes, and back to the right frames.

The network sees a fixed number of frames of a fixed size. Images are letterboxed, never
stretched (the released code stretches: `as_released` does the same, for comparisons). A stream is
seen through a window that slides; each frame is published once.
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

from thfm_ros.contract import PixelMap
from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

T = TypeVar("T")

STEP = VAE_SPATIAL * 2
"""Sides of an image are multiples of this: cells of the VAE, patches of two cells."""
OUTSIDE = 114
"""Grey of what lies outside the image, as everywhere in this package."""


def check_window(length: int) -> None:
    """Refuse a number of frames that the VAE cannot hold."""
    if length < 1 + VAE_TEMPORAL or length % VAE_TEMPORAL != 1:
        below = max(1 + VAE_TEMPORAL, (length - 1) // VAE_TEMPORAL * VAE_TEMPORAL + 1)
        raise GenceptionError(
            f"A window of {length} frames does not fit the VAE, which takes 1 + 4 k frames, at "
            f"least 5: take {below} or {below + VAE_TEMPORAL}. The public weights saw 81."
        )


def check_size(width: int, height: int) -> None:
    """Refuse an image size that patches cannot tile."""
    if width < STEP or height < STEP or width % STEP or height % STEP:
        fits = [max(STEP, round(side / STEP) * STEP) for side in (width, height)]
        raise GenceptionError(
            f"Images of {width}x{height} cannot be tiled: both sides must be multiples of "
            f"{STEP}. Take {fits[0]}x{fits[1]}; the public weights saw 832x480."
        )


def letterbox(width: int, height: int, size: tuple[int, int]) -> PixelMap:
    """Where an image of ``size`` (width, height) lies in a source: all of it, centred.

    The image covers whole source pixels, so the one scale is exact for both sides.
    """
    check_size(*size)
    step = math.gcd(*size)
    units = max(math.ceil(width * step / size[0]), math.ceil(height * step / size[1]))
    covered = (size[0] // step * units, size[1] // step * units)
    return PixelMap(
        scale=units / step,
        offset_x=float((width - covered[0]) // 2),
        offset_y=float((height - covered[1]) // 2),
        width=size[0],
        height=size[1],
    )


def to_network(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]],
    pixel_map: PixelMap,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "1 3 t h w"]:
    """Frames of one size as the VAE takes them: RGB in -1..1, grey bars where nothing is.

    Each frame is uploaded once, as bytes, and resized where the network runs.
    """
    height, width = frames[0].shape[:2]
    if any(frame.shape != (height, width, 3) or frame.dtype != np.uint8 for frame in frames):
        shapes = sorted({f"{frame.dtype} {list(frame.shape)}" for frame in frames})
        raise GenceptionError(f"A clip needs RGB frames of one size as uint8; got {shapes}.")
    right = round(pixel_map.scale * pixel_map.width) - width + round(pixel_map.offset_x)
    below = round(pixel_map.scale * pixel_map.height) - height + round(pixel_map.offset_y)
    bars = (-round(pixel_map.offset_x), right, -round(pixel_map.offset_y), below)
    images = []
    for frame in frames:
        bytes_ = torch.from_numpy(np.ascontiguousarray(frame)).to(device)
        image = pad(bytes_.permute(2, 0, 1).to(dtype), bars, value=OUTSIDE)
        images.append(_resized(image[None], pixel_map.width, pixel_map.height)[0])
    return (torch.stack(images, dim=1) / 127.5 - 1).clamp(-1, 1)[None]


def to_source(
    maps: Float[Tensor, "t c h w"], pixel_map: PixelMap, width: int, height: int
) -> Float[Tensor, "t c height width"]:
    """Cut the bars off maps of the network's size and bring them to the source's size.

    Nearest neighbour, for what must not be mixed (depth at an edge, NaN) stays what it was.
    """
    x, y = torch.arange(width, device=maps.device), torch.arange(height, device=maps.device)
    columns = ((x + 0.5 - pixel_map.offset_x) / pixel_map.scale).floor().long()
    rows = ((y + 0.5 - pixel_map.offset_y) / pixel_map.scale).floor().long()
    columns, rows = columns.clamp(0, pixel_map.width - 1), rows.clamp(0, pixel_map.height - 1)
    return maps[:, :, rows][..., columns]


def as_released(
    video: UInt8[np.ndarray, "t h w 3"], length: int = 81, size: tuple[int, int] = (832, 480)
) -> Float[Tensor, "1 3 t h w"]:
    """What the released code feeds: stretched to ``size``, thinned out or padded to ``length``.

    Only to compare with its results; a node uses `letterbox` and `ClipWindow`.
    """
    check_window(length)
    check_size(*size)
    count = len(video)
    if count > length:
        chosen = np.linspace(0, count - 1, length, dtype=int)  # rounded down, as theirs
    else:
        chosen = np.minimum(np.arange(length), count - 1)
    frames = torch.from_numpy(np.ascontiguousarray(video[chosen])).permute(0, 3, 1, 2).float()
    resized = _resized(frames, *size) / 255
    return (resized * 2 - 1).permute(1, 0, 2, 3)[None]


def _resized(images: Tensor, width: int, height: int) -> Tensor:
    if images.shape[-2:] != (height, width):
        # Antialiased bilinear is what the official code's resize computes.
        size = (height, width)
        images = interpolate(images, size=size, mode="bilinear", antialias=True)
    return images


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """One pass: as many items as the window has, and which of them nobody has seen yet."""

    items: tuple[T, ...]  # oldest first; the last is repeated where a stream is too short
    new: range  # positions in ``items`` whose results are to be published
    skipped: int  # frames that came and went unseen since the batch before


class ClipWindow(Generic[T]):
    """The newest frames of one unbroken stream, handed out so that each is published once.

    Push every frame; take a batch when one is ready. Whoever takes late loses the oldest frames
    (they are counted), never gets behind. For a new stream make a new window.
    """

    def __init__(self, length: int, stride: int) -> None:
        """``stride`` new frames, 1 to ``length``, make a batch; the first one needs ``length``."""
        check_window(length)
        if not 1 <= stride <= length:
            raise GenceptionError(
                f"A stride of {stride} frames does not fit a window of {length}: take 1 to "
                f"{length}. A smaller one costs more passes and gives each frame more context."
            )
        self._length, self._stride = length, stride
        self._items: deque[T] = deque(maxlen=length)
        self._waiting = 0  # frames that came since the last batch, lost ones included
        self._begun = False

    @property
    def ready(self) -> bool:
        """Whether `take` gives a batch."""
        return self._waiting >= (self._stride if self._begun else self._length)

    def push(self, item: T) -> None:
        """Add the next frame."""
        self._items.append(item)
        self._waiting += 1

    def take(self, *, rest: bool = False) -> Batch[T] | None:
        """The next batch, or None. At the end of a stream, ``rest`` gives what is left."""
        if not (self.ready or (rest and self._waiting)):
            return None
        held, waiting = len(self._items), self._waiting
        self._waiting, self._begun = 0, True
        padding = (self._items[-1],) * (self._length - held)
        fresh = min(waiting, held)
        return Batch((*self._items, *padding), range(held - fresh, held), waiting - fresh)


def batches(items: Sequence[T], length: int, stride: int) -> list[Batch[T]]:
    """All of a recorded stream: the same as pushing item by item and taking at once."""
    window = ClipWindow[T](length, stride)
    found = []
    for item in items:
        window.push(item)
        if batch := window.take():
            found.append(batch)
    if batch := window.take(rest=True):
        found.append(batch)
    return found
