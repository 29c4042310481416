# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The video stream of a file, decoded by PyAV: what the file states, and its frames."""

import logging
import shlex
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import av
import av.logging

from thfm_ros.media.errors import MAX_PIXELS, VideoError, check_pixels, shown

log = logging.getLogger(__name__)

# FFmpeg writes pages about damaged streams to stderr; what matters of it is logged here.
av.logging.set_libav_level(av.logging.FATAL)

_MAX_FAILURES = 300
"""After so many packets in a row that cannot be read or decoded, the rest is given up."""
_RATES = 0.01, 1000.0
"""Frames per second that are plausible."""
_USUAL_RATE = 30.0


class DecodedFrame(NamedTuple):
    """A frame, and how many before it could not be decoded, since the last that could."""

    frame: Any  # av.VideoFrame
    lost: int


class VideoStream:
    """The video stream of an open file; a context manager, since the file must be closed.

    Raises:
        VideoError: the file cannot be opened, has no video, or no decoder knows its codec.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = _opened(path)
        try:
            self._stream = _video_stream(self._container, path)
        except VideoError:
            self._container.close()
            raise
        codec = self._stream.codec_context
        check_pixels(path, codec.width, codec.height)
        # Not by frames: FFmpeg's frame threads wait for each other for ever in damaged films.
        self._stream.thread_type = "SLICE"
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        if codec.name == "mjpeg":
            # Otherwise a damaged JPEG is shown as far as it goes, without a word. Other codecs
            # mark such frames as corrupt.
            codec.options = {**codec.options, "err_detect": "explode"}
        self._aspect_of_codec = fraction_of(codec.sample_aspect_ratio)

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width / height of a pixel: what the container says, else the newest frame's codec."""
        stated = fraction_of(self._stream.sample_aspect_ratio)
        if stated and stated != self._aspect_of_codec:
            return stated
        return fraction_of(self._stream.codec_context.sample_aspect_ratio) or stated

    @property
    def has_times(self) -> bool:
        """Whether the container holds times; a bare stream of H.264 or JPEG images does not."""
        return not self._container.format.flags & av.format.Flags.no_timestamps.value

    @property
    def times_are_decoding_order(self) -> bool:
        """Whether the times belong to the order of decoding, as in AVI, which knows no other."""
        reorders = bool(self._stream.codec_context.has_b_frames)
        return reorders and self._container.format.name == "avi"

    @property
    def coded_rate(self) -> float | None:
        """Frames per second that the codec itself states, None if it states none."""
        return plausible(fraction_of(self._stream.codec_context.framerate))

    @property
    def stated_rate(self) -> float | None:
        """Mean frames per second as the container states it, None if it does not."""
        return plausible(fraction_of(self._stream.average_rate))

    @property
    def frames_refer_to_others(self) -> bool:
        """Whether a damaged frame damages those that follow, up to the next key frame."""
        return not self._stream.codec_context.codec.intra_only

    @property
    def stated_length(self) -> int:
        """The number of frames, 0 where the file states none or contradicts itself."""
        frames, rate = int(self._stream.frames), self.stated_rate
        ticks, unit = self._stream.duration, fraction_of(self._stream.time_base)
        if not (frames > 0 and ticks and unit and rate):
            return 0
        by_time = float(ticks * unit) * rate
        agree = abs(frames - by_time) <= max(2.0, 0.02 * frames)
        return frames if agree and frames <= self.path.stat().st_size else 0

    def packet_times_ns(self, limit: int | None = None) -> list[int]:
        """Times of the first packets, or of all, sorted; they are read, not decoded."""
        times = []
        failures = 0
        for packet in _packets(self._container, self._stream):
            if packet is None:
                failures += 1
                if failures == _MAX_FAILURES:
                    break
                continue
            time = packet.dts if packet.pts is None else packet.pts
            # Packets outside of the edit list of an MP4 file are decoded, but not shown.
            if time is not None and packet.time_base and not packet.is_discard:
                times.append(nanoseconds(time, packet.time_base))
            if limit is not None and len(times) >= limit:
                break
        return sorted(times)

    def frames(self) -> Iterator[DecodedFrame]:
        """All frames that can be decoded, in the order of display.

        If the film begins with something else than a key frame, or its beginning is damaged, it
        begins with its first whole key frame: what comes before refers to frames that are missing,
        and some decoders (MPEG-4) show it nevertheless, grey for the most part.
        """
        lost = failures = 0
        begun = needs_key = False
        for number, packet in enumerate(_packets(self._container, self._stream)):
            try:
                decoded = None if packet is None else packet.decode()
            except EOFError:
                return
            except av.FFmpegError:
                decoded = None
            if decoded is None:
                lost, failures, needs_key = lost + 1, failures + 1, True
                if failures == _MAX_FAILURES:
                    text = "%s: the rest is left out, since nothing of %d packets can be decoded"
                    log.warning(text, shown(self.path), failures)
                    return
                continue
            needs_key = needs_key or (number == 0 and not packet.is_keyframe)
            if not packet.size:  # the end: these frames were delayed, what was lost came after them
                lost = 0
            for frame in decoded:
                if frame.is_corrupt or not (begun or frame.key_frame or not needs_key):
                    lost, needs_key = lost + 1, True
                    continue
                yield DecodedFrame(frame, lost)
                begun, lost, failures = True, 0, 0


def nanoseconds(ticks: int, unit: Any) -> int:
    """A time in units of ``unit`` seconds, a rational of PyAV."""
    return round(ticks * (fraction_of(unit) or Fraction(0)) * 1_000_000_000)


def fraction_of(value: Any) -> Fraction | None:
    """A rational of PyAV; None if it is unknown."""
    return Fraction(value.numerator, value.denominator) if value else None


def plausible(rate: Fraction | None) -> float | None:
    """The rate if some camera has it, else None."""
    return float(rate) if rate and _RATES[0] <= rate <= _RATES[1] else None


def rate_of(stream: VideoStream, times_ns: list[int]) -> tuple[float, bool]:
    """Frames per second, from the times of the first packets where there are any.

    Returns:
        The rate; and whether it is merely the usual one, since nothing states any.
    """
    if not stream.has_times:
        rate = stream.coded_rate
        return (rate, False) if rate else (_USUAL_RATE, True)
    if len(times_ns) > 1 and times_ns[-1] > times_ns[0]:
        by_times = plausible(Fraction((len(times_ns) - 1) * 10**9, times_ns[-1] - times_ns[0]))
        if by_times:
            return by_times, False
    rate = stream.stated_rate or stream.coded_rate
    return (rate, False) if rate else (_USUAL_RATE, len(times_ns) > 1)


def _opened(path: Path) -> Any:
    # "file:", since FFmpeg takes a name with a colon for a URL.
    options: dict[str, Any] = {}
    if int(av.__version__.partition(".")[0]) < 19:  # later versions never fail on metadata
        options["metadata_errors"] = "replace"
    try:
        return av.open(f"file:{path}", **options)
    except av.FFmpegError as error:
        raise VideoError(_why_not_opened(path, error.strerror or str(error))) from error


def _why_not_opened(path: Path, reason: str) -> str:
    with path.open("rb") as file:
        beginning = file.read(8)
    if not beginning:
        return f"{shown(path)} is empty (0 bytes): record or copy it again."
    index = ""
    if beginning[4:] == b"ftyp":
        index = (
            "An MP4 or MOV file that was cut off, or was not closed by its recorder, lacks the "
            "index at its end, without which nothing of it can be read: copy it again, or record "
            "to .mkv. "
        )
    return f"PyAV cannot open {shown(path)} as a video ({reason}). {index}{conversion_of(path)}"


def conversion_of(path: Path) -> str:
    """The advice to convert a file that cannot be read."""
    name = shlex.quote(f"file:{shown(Path(path.name))}") if ":" in path.name else path.name
    return f"If it plays elsewhere, convert it: ffmpeg -i {name} -c:v libx264 converted.mp4"


def _video_stream(container: Any, path: Path) -> Any:
    stream = container.streams.best("video")
    covers = av.stream.Disposition.attached_pic
    if stream is None or stream.disposition & covers:
        kinds = ", ".join(sorted({each.type for each in container.streams})) or "nothing"
        cover = " (its only image is a cover)" if stream is not None else ""
        raise VideoError(f"{shown(path)} holds no video but {kinds}{cover}.")
    if stream.codec_context is None:
        raise VideoError(
            f"PyAV has no decoder for the video in {shown(path)}. {conversion_of(path)}"
        )
    return stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets, None for one that cannot be read; of a damaged file they may never end."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, EOFError):
            return
        except av.FFmpegError:
            packet, packets = None, container.demux(stream)  # an error ended the generator
        yield packet
