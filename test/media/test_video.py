# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The reader of videos: whatever the file, upright frames with their own times, or a reason."""

import logging
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tiny_films import (
    corners_of,
    four_corners,
    grey_levels,
    levels_of,
    packets_of,
    write_film,
    write_packets,
)

import thfm_ros
from thfm_ros.media.errors import VideoError
from thfm_ros.media.video import Video, same_size

STREET = Path(thfm_ros.__file__).parent / "clips" / "street.mp4"


def times_ms(video: Video) -> list[int]:
    return [round(frame.stamp_ns * 1e-6) for frame in video]


@pytest.mark.parametrize("container", ["webm", "mkv", "mp4"])
def test_frames_have_the_times_of_the_container_whatever_its_rate_says(
    tmp_path: Path, container: str
) -> None:
    stated = [0, 97, 199, 306, 1500, 1611]  # as of a browser's recorder, with a pause
    codec = "libx264" if container == "mp4" else "libvpx"
    film = write_film(
        tmp_path / f"f.{container}", grey_levels(6), codec, times_ms=stated, rate=1000
    )
    video = Video(film)
    assert times_ms(video) == pytest.approx(stated, abs=1)
    assert video.fps == pytest.approx(5 / 1.611, rel=0.01)
    assert video.measured_duration_s() == pytest.approx(1.611 * 6 / 5, rel=0.01)


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts"])
def test_frames_that_were_encoded_out_of_order_come_in_order(
    tmp_path: Path, container: str
) -> None:
    options = {"bf": "3", "b-adapt": "0", "g": "30"}
    film = write_film(tmp_path / f"f.{container}", grey_levels(14), options=options)
    frames = list(Video(film))
    assert levels_of([frame.rgb for frame in frames]) == list(range(14))
    assert [frame.stamp_ns * 1e-6 for frame in frames] == pytest.approx(range(0, 1400, 100), abs=1)
    assert [frame.index for frame in frames] == list(range(14))


@pytest.mark.parametrize(
    ("display", "turned"),
    [
        ({"degrees": 90}, lambda image: np.rot90(image, 1)),
        ({"degrees": 180}, lambda image: np.rot90(image, 2)),
        ({"degrees": 270}, lambda image: np.rot90(image, 3)),
        ({"degrees": 0, "hflip": True}, np.fliplr),
        ({"degrees": 0, "vflip": True}, np.flipud),
        # Turned first, mirrored then: FFmpeg's order of the two.
        ({"degrees": 90, "hflip": True}, lambda image: np.fliplr(np.rot90(image, 1))),
    ],
)
def test_a_film_is_turned_as_its_display_matrix_says(
    tmp_path: Path, display: dict[str, Any], turned: Any
) -> None:
    film = write_film(tmp_path / "f.mp4", [four_corners()] * 2, display=display)
    video = Video(film)
    frame = next(iter(video))
    expected = turned(four_corners())
    assert (video.height, video.width) == frame.rgb.shape[:2] == expected.shape[:2]
    assert corners_of(frame.rgb) == corners_of(expected)


@pytest.mark.parametrize(
    ("name", "codec", "aspect", "size", "square"),
    [
        ("h264.mp4", "libx264", Fraction(64, 45), (54, 48), (77, 48)),
        ("h264.ts", "libx264", Fraction(2, 1), (54, 48), (108, 48)),
        ("h264.mkv", "libx264", Fraction(1, 2), (54, 48), (54, 96)),  # no side becomes shorter
        ("mjpeg.avi", "mjpeg", Fraction(16, 15), (54, 48), (58, 48)),
        ("mjpeg.mov", "mjpeg", Fraction(2, 1), (54, 48), (108, 48)),
        ("mpeg2.mpg", "mpeg2video", Fraction(64, 45), (720, 576), (1024, 576)),
        ("dv.avi", "dvvideo", Fraction(64, 45), (720, 576), (1024, 576)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(
    tmp_path: Path,
    name: str,
    codec: str,
    aspect: Fraction,
    size: tuple[int, int],
    square: tuple[int, int],
) -> None:
    film = write_film(
        tmp_path / name, [four_corners(*size)] * 4, codec, pixel_aspect=aspect, rate=25
    )
    video = Video(film)
    rgb = next(iter(video)).rgb
    assert (video.width, video.height) == rgb.shape[1::-1] == square
    assert corners_of(rgb) == corners_of(four_corners())


def test_stretched_pixels_are_turned_too(tmp_path: Path) -> None:
    film = write_film(
        tmp_path / "f.mp4",
        [four_corners()],
        pixel_aspect=Fraction(2),
        display={"degrees": 90},
    )
    video = Video(film)
    assert (video.width, video.height) == (48, 128)
    assert corners_of(next(iter(video)).rgb) == corners_of(np.rot90(four_corners()))


def moving_bar(count: int) -> list[np.ndarray]:
    """Interlaced frames of a bright bar that moves 8 pixels per field."""
    frames = np.full((count, 48, 96, 3), 30, np.uint8)
    for number in range(count):
        for field in (0, 1):
            left = 8 * (2 * number + field)
            frames[number, field::2, left : left + 16] = 220
    return list(frames)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_an_interlaced_film_is_deinterlaced_frame_by_frame(tmp_path: Path, codec: str) -> None:
    container = "mpg" if codec == "mpeg2video" else "mp4"
    film = write_film(tmp_path / f"f.{container}", moving_bar(5), codec, interlaced=True, rate=25)
    frames = list(Video(film))
    assert [round(frame.stamp_ns * 1e-6) for frame in frames] == [0, 40, 80, 120, 160]
    for number, frame in enumerate(frames):
        grey = frame.rgb[8:40].mean(-1)
        combed = abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean()
        assert combed < 6, combed  # 19 and more before
        left = int(np.argmax(grey.mean(0) > 125))
        assert 16 * number - 6 <= left <= 16 * number + 14


def test_a_progressive_film_passes_unfiltered(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    film = write_film(tmp_path / "f.mp4", [noise] * 2)
    with av.open(str(film)) as file:
        plain = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    for frame, expected in zip(Video(film), plain, strict=True):
        np.testing.assert_array_equal(frame.rgb, expected)


def test_the_street_clip_is_decoded_as_by_opencv() -> None:
    capture = cv2.VideoCapture(str(STREET))
    for _, frame in zip(range(4), Video(STREET), strict=False):
        is_read, bgr = capture.read()
        assert is_read
        difference = abs(frame.rgb.astype(int) - bgr[..., ::-1])
        assert difference.max() <= 2 and difference.mean() < 0.1


COLOURS = [(200, 30, 40), (30, 180, 60), (20, 40, 210), (128, 128, 128)]
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 2: (0.299, 0.114)}


@pytest.mark.parametrize("matrix", KR_KB, ids=["BT.709", "BT.601", "SMPTE 170M", "unknown"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_follow_the_matrix_and_range_of_the_film(
    tmp_path: Path, matrix: int, full: bool, colour: tuple[int, int, int]
) -> None:
    kr, kb = KR_KB[matrix]
    r, g, b = (value / 255 for value in colour)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / 2 / (1 - kb), (r - y) / 2 / (1 - kr)
    planes = [255 * y, 128 + 255 * u, 128 + 255 * v] if full else []
    planes = planes or [16 + 219 * y, 128 + 224 * u, 128 + 224 * v]
    layout = [np.full(n, round(p), np.uint8) for n, p in zip((3072, 768, 768), planes, strict=True)]
    with av.open(str(tmp_path / "f.mp4"), "w") as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"crf": "0", "threads": "1"}
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1 + full
        frame = av.VideoFrame.from_ndarray(np.concatenate(layout).reshape(72, 64), "yuv420p")
        frame.colorspace, frame.color_range = matrix, 1 + full
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    rgb = next(iter(Video(tmp_path / "f.mp4"))).rgb
    np.testing.assert_allclose(rgb[24, 32].astype(int), colour, atol=3)


def test_frame_counts_that_are_not_true_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.avi", grey_levels(5), "mjpeg")
    data = bytearray(film.read_bytes())
    header, stream = data.index(b"avih"), data.index(b"strh")
    struct.pack_into("<I", data, header + 8 + 16, 1 << 30)  # dwTotalFrames
    struct.pack_into("<I", data, stream + 8 + 32, 1 << 30)  # dwLength
    data = data[: data.index(b"idx1")]
    film.write_bytes(data)
    video = Video(film)
    assert video.length == 0
    assert times_ms(video) == [0, 100, 200, 300, 400]
    assert video.measured_duration_s() == pytest.approx(0.5)
    assert caplog.text == ""


def copy_packets(source: Any, file: Any) -> None:
    """Copy the video as it is."""
    stream = file.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
        if packet.dts is not None:
            packet.stream = stream
            file.mux(packet)


@pytest.mark.fault("file", "a film that was cut off")
def test_a_film_that_was_cut_off_ends_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8))
    film = write_film(tmp_path / "f.mp4", noise)
    options = {"movflags": "faststart"}  # the index comes first
    with av.open(str(film)) as source, av.open(str(tmp_path / "g.mp4"), "w", None, options) as file:
        copy_packets(source, file)
    data = (tmp_path / "g.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    film.write_bytes(data[: len(data) * 2 // 3])
    frames = list(Video(film))
    assert 2 <= len(frames) < 12
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert caplog.text == ""


@pytest.mark.fault("file", "damaged frames in a film")
def test_damaged_frames_are_left_out_and_the_holes_between_good_ones_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.avi", grey_levels(9), "mjpeg")
    packets = packets_of(film)
    for number in (0, 3, 4, 8):  # the first and the last are no holes
        packets[number] = packets[number][:2] + b"\x00" * 40
    damaged = write_packets(tmp_path / "g.avi", packets, film)
    frames = list(Video(damaged))
    assert [frame.index for frame in frames] == [1, 2, 5, 6, 7]
    assert levels_of([frame.rgb for frame in frames]) == [1, 2, 5, 6, 7]
    assert [round(frame.stamp_ns * 1e-6) for frame in frames] == [0, 100, 400, 500, 600]
    assert "2 of 8 frames cannot be decoded and are left out, in 1 places from 3 on" in caplog.text


def test_half_a_frame_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8))
    film = write_film(tmp_path / "f.avi", noise, "mjpeg")
    packets = packets_of(film)
    packets[2] = packets[2][: len(packets[2]) // 2]
    frames = list(Video(write_packets(tmp_path / "g.avi", packets, film)))
    assert [frame.index for frame in frames] == [0, 1, 3]
    assert "1 of 4 frames" in caplog.text


def test_a_long_run_of_failures_ends_the_film(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.avi", grey_levels(3), "mjpeg")
    packets = [*packets_of(film), *[b"\xff\xd8 nothing"] * 400, *packets_of(film)]
    frames = list(Video(write_packets(tmp_path / "g.avi", packets, film)))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert "the rest is left out" in caplog.text


NAMES = ["2026-11-30T08:15:00.mp4", "-i.mp4", "100%d.mp4", "file:x.mp4", "café ☕.mp4", "a\\b?.mp4"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"caf\xe9.mp4")], ids=ascii)
def test_a_film_of_any_relative_name_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_film(tmp_path / "f.mp4", grey_levels(2)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert levels_of([frame.rgb for frame in Video(Path(name))]) == [0, 1]


def test_names_and_titles_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "f.avi"), "w") as file:
        stream: Any = file.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        file.metadata["title"] = "a title of 1998"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(four_corners(), format="rgb24")))
        file.mux(stream.encode(None))
    data = (tmp_path / "f.avi").read_bytes().replace(b"a title", b"\xe9 title")
    (tmp_path / "f.avi").write_bytes(data)
    assert len(list(Video(tmp_path / "f.avi"))) == 1


def add_sound(path: Path, film: Path | None, seconds: float) -> Path:
    """A copy of the film with a sound of this length; None: sound only."""
    with av.open(str(path), "w") as file:
        audio: Any = file.add_stream("aac", rate=8000)
        if film is not None:
            with av.open(str(film)) as source:
                copy_packets(source, file)
        for number in range(int(seconds * 8)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, 1000 * number
            file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    return path


def test_sound_that_is_longer_than_the_film_is_no_hole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.mp4", grey_levels(4))
    video = Video(add_sound(tmp_path / "g.mp4", film, 5.0))
    assert times_ms(video) == [0, 100, 200, 300]
    assert video.measured_duration_s() == pytest.approx(0.4)
    assert caplog.text == ""


def test_a_file_without_a_video_is_named(tmp_path: Path) -> None:
    sound = add_sound(tmp_path / "f.m4a", None, 0.5)
    with pytest.raises(VideoError, match=r"f\.m4a holds no video but audio"):
        Video(sound)
    (tmp_path / "g.mp4").write_bytes(b"not a video at all")
    with pytest.raises(VideoError, match=r"cannot open .*g\.mp4.* ffmpeg -i g\.mp4"):
        Video(tmp_path / "g.mp4")
    (tmp_path / "12:00.mp4").write_bytes(b"not a video at all")
    with pytest.raises(VideoError, match=r"ffmpeg -i file:12:00\.mp4"):
        Video(tmp_path / "12:00.mp4")
    with pytest.raises(VideoError, match="no file"):
        Video(tmp_path / "h.mp4")


def test_a_film_without_any_decodable_frame_is_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "f.avi", grey_levels(2), "mjpeg")
    damaged = write_packets(tmp_path / "g.avi", [b"\xff\xd8 nothing"] * 5, film)
    with pytest.raises(VideoError, match="no frame that PyAV can decode"):
        Video(damaged)


def test_a_change_of_size_is_passed_on_or_refused_with_a_cure(tmp_path: Path) -> None:
    small = write_film(tmp_path / "small.mkv", grey_levels(2), "mjpeg")
    large = write_film(tmp_path / "large.mkv", grey_levels(2, 96, 80), "mjpeg")
    film = write_packets(tmp_path / "f.mkv", packets_of(small) + packets_of(large), small)
    frames = list(Video(film))
    assert [frame.rgb.shape for frame in frames] == [(48, 64, 3)] * 2 + [(80, 96, 3)] * 2
    with pytest.raises(VideoError, match=r"from 64x48 to 96x80 at frame 2, 0\.20 s.*scale=64:48"):
        list(same_size(Video(film), film))


def test_without_any_times_a_usual_rate_is_assumed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.mjpeg", grey_levels(4), "mjpeg", container="mjpeg")
    assert times_ms(Video(film)) == [0, 33, 67, 100]
    assert "30 frames per second are assumed" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):  # H.264 states its rate within the stream
        film = write_film(tmp_path / "f.h264", grey_levels(4), container="h264", rate=20)
        assert times_ms(Video(film)) == [0, 50, 100, 150]
    assert caplog.text == ""


def test_frames_of_more_than_200_megapixels_are_refused_before_they_are_decoded(
    tmp_path: Path,
) -> None:
    film = write_film(tmp_path / "f.mjpeg", grey_levels(1), "mjpeg", container="mjpeg")
    data = bytearray(film.read_bytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 15000, 20000)
    film.write_bytes(data)
    with pytest.raises(VideoError, match="none of at most 200 megapixels"):
        Video(film)


def test_a_film_can_be_read_again(tmp_path: Path) -> None:
    video = Video(write_film(tmp_path / "f.mp4", grey_levels(3)))
    assert [levels_of([f.rgb for f in video]) for _ in range(2)] == [[0, 1, 2]] * 2
