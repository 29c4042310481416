# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decoding of foxglove_msgs/CompressedVideo: a video whose packets are messages."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Generic, TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from thfm_ros.camera import BadInputError
from thfm_ros.camera.image_codecs import MAX_PIXELS

_CODECS = {"h264": "h264", "h265": "hevc", "hevc": "hevc", "vp9": "vp9", "av1": "av1"}
"""The definition's names of formats, and FFmpeg's names of their decoders."""
_DECODERS = {"av1": ("libdav1d", "av1")}

_TIME_BASE = Fraction(1, 1000)

Tag = TypeVar("Tag")


class CompressedVideoDecoder(Generic[Tag]):
    """Decodes the messages of one topic, in their order.

    According to the message's definition a message holds one frame, and none is reordered.
    """

    def __init__(self) -> None:
        self._context: Any = None
        self._format = ""
        self._tags: dict[int, Tag] = {}  # by the time of the packet, which its frame has too
        self._count = 0
        self._has_begun = self._needs_key_frame = False
        self._reformatter = VideoReformatter()

    def decode(self, message: Any, tag: Tag) -> Iterator[tuple[Tag, UInt8[np.ndarray, "h w 3"]]]:
        """The frame of a message with the tag of its message.

        Raises:
            BadInputError: an unknown format, data that are damaged or cannot be decoded, or a
                frame that refers to one at the beginning which is damaged.
        """
        context = self._context_for(str(message.format))
        packet = av.Packet(bytes(message.data))
        if not packet.size:
            raise BadInputError("data", "A CompressedVideo is empty (0 bytes).")
        packet.pts = packet.dts = self._count
        packet.time_base = _TIME_BASE
        self._tags[self._count] = tag
        self._count += 1
        try:
            frames = context.decode(packet)
        except (av.FFmpegError, OSError) as error:
            raise BadInputError(
                "data",
                f"A CompressedVideo of format {message.format!r} with {packet.size} bytes cannot "
                f"be decoded ({error}). Frames before the first key frame cannot either.",
            ) from error
        if not frames:
            raise BadInputError(
                "data",
                f"A CompressedVideo of format {message.format!r} gives no frame: it waits for a "
                "key frame, or holds less than a frame.",
            )
        for frame in frames:
            self._require_whole(frame, message)
            if frame.width * frame.height > MAX_PIXELS:
                size = f"{frame.width}x{frame.height}"
                raise BadInputError("size", f"A CompressedVideo of {size} pixels is too large.")
            rgb = self._reformatter.reformat(frame, format="rgb24")
            own = self._tags.get(frame.pts, tag)
            self._tags = {time: each for time, each in self._tags.items() if time > frame.pts}
            yield own, np.asarray(rgb.to_ndarray(), np.uint8)

    def _require_whole(self, frame: Any, message: Any) -> None:
        """Refuse what the decoder had to invent, as `media.video_stream` does in films."""
        lacks_key_frame = self._needs_key_frame and not (self._has_begun or frame.key_frame)
        if frame.is_corrupt or lacks_key_frame:
            self._needs_key_frame = True
            what = "is damaged" if frame.is_corrupt else "refers to a damaged key frame"
            raise BadInputError("data", f"A CompressedVideo of format {message.format!r} {what}.")
        self._has_begun = True

    def _context_for(self, name: str) -> Any:
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if plain not in _CODECS:
            known = ", ".join(_CODECS)
            raise BadInputError(
                "encoding", f"A CompressedVideo has the format {name!r}; known are {known}."
            )
        if self._context is None or plain != self._format:
            codec = _CODECS[plain]
            wanted = _DECODERS.get(codec, (codec,))
            available = next((each for each in wanted if each in av.codecs_available), codec)
            self._context, self._format = av.CodecContext.create(available, "r"), plain
            # One frame in, one frame out: with frame threads the decoder would hold some back.
            self._context.thread_type = "NONE"
            self._context.thread_count = 1
            self._context.flags |= av.codec.context.Flags.low_delay
        return self._context
