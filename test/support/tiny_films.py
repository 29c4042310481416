# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films of a few small frames, written by PyAV in milliseconds."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = {"top left": RED, "top right": GREEN, "bottom left": BLUE, "bottom right": WHITE}
FORMATS = {"mjpeg": "yuvj420p", "dvvideo": "yuv420p"}


def four_corners(width: int = 64, height: int = 48) -> np.ndarray:
    """An image with another colour in each quarter."""
    image = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    image[:h, :w], image[:h, w:], image[h:, :w], image[h:, w:] = CORNERS.values()
    return image


def corners_of(rgb: np.ndarray) -> list[str]:
    """Which colour the corners have: top left, top right, bottom left, bottom right."""
    h, w = rgb.shape[0], rgb.shape[1]
    found = []
    for y, x in ((h // 4, w // 4), (h // 4, 3 * w // 4), (3 * h // 4, w // 4)):
        found.append(_nearest(rgb[y, x]))
    return [*found, _nearest(rgb[3 * h // 4, 3 * w // 4])]


def _nearest(pixel: np.ndarray) -> str:
    return min(CORNERS, key=lambda name: abs(pixel.astype(int) - CORNERS[name]).sum())


def grey_levels(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames that can be told apart: each is 10 brighter than the one before, from 20 on."""
    return [np.full((height, width, 3), 20 + 10 * number, np.uint8) for number in range(count)]


def levels_of(frames: Sequence[np.ndarray]) -> list[int]:
    """Which of `grey_levels` each frame is."""
    return [round((float(frame.mean()) - 20) / 10) for frame in frames]


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    times_ms: Sequence[float] | None = None,
    rate: float = 10,
    pixel_aspect: Fraction | None = None,
    display: dict[str, Any] | None = None,
    interlaced: bool = False,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write RGB frames of one size; ``display``: arguments of PyAV's set_display_rotation."""
    with av.open(f"file:{path}", "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = FORMATS.get(codec, "yuv420p")
        flags = {"flags": "+ildct+ilme"} if interlaced else {}
        stream.options = {"threads": "1", **flags, **(options or {})}
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if display:
            stream.set_display_rotation(**display)
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = round(times_ms[number]), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def packets_of(path: Path) -> list[bytes]:
    """The encoded frames of a film."""
    with av.open(f"file:{path}") as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


def write_packets(path: Path, packets: Sequence[bytes], template: Path) -> Path:
    """Write encoded frames, damaged ones too, as the stream of the film ``template``."""
    with av.open(f"file:{template}") as source, av.open(f"file:{path}", "w") as file:
        stream = file.add_stream_from_template(source.streams.video[0])
        stream.time_base = Fraction(1, 10)
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 10), stream
            packet.is_keyframe = True
            file.mux(packet)
    return path
