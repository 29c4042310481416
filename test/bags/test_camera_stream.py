# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The images of a camera in a bag: encodings, calibrations, stamps, and what is left out."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from small_bags import (
    PERIOD_NS,
    START_NS,
    Message,
    a_camera_info,
    a_compressed_image,
    a_compressed_video,
    a_raw_image,
    images_of,
    write_bag,
)
from tiny_films import four_corners, grey_levels, levels_of, write_film

from thfm_ros.bags.bag import Bag
from thfm_ros.bags.camera_stream import CameraImage, CameraStream
from thfm_ros.bags.opening import BagError
from thfm_ros.camera import ACCEPTED

FRAMES = [np.full((6, 8, 3), 20 * number, np.uint8) for number in range(4)]
TOPIC = "/camera/image_raw"


def stream_of(folder: Path, messages: list[Message], **options: object) -> list[CameraImage]:
    return stream_and_doubts(folder, messages, **options)[0]


def stream_and_doubts(
    folder: Path, messages: list[Message], **options: object
) -> tuple[list[CameraImage], str, str]:
    """The images, what was left out of them, and what is wrong with their calibration."""
    with Bag(write_bag(folder / "bag", messages)) as bag:
        stream = CameraStream(bag, "", **options)  # type: ignore[arg-type]
        return list(stream.images()), stream.losses, stream.doubts


@pytest.mark.parametrize("encoding", ACCEPTED)
def test_every_encoding_of_the_node_is_read(tmp_path: Path, encoding: str) -> None:
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1}
    size = channels.get(encoding, 2 if "yu" in encoding or "uyv" in encoding else 1)
    rows = 9 if encoding in ("nv12", "nv21") else 6
    values = np.full((rows, 8 * size), 128, np.uint8)
    step = 8 * size
    message = a_raw_image(encoding, (6, 8), values.tobytes(), step, START_NS)
    (image,) = stream_of(tmp_path, [(TOPIC, START_NS, message)])
    assert image.rgb.shape == (6, 8, 3)
    assert abs(image.rgb.astype(int) - 128).max() <= 3


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_compressed_images_are_decoded_as_in_the_node(tmp_path: Path, codec: str) -> None:
    rgb = four_corners()
    if codec == "jpeg":
        data = simplejpeg.encode_jpeg(rgb, quality=95)
    else:
        data = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    message = a_compressed_image(data, START_NS, f"rgb8; {codec} compressed bgr8")
    topic = "/camera/image_raw/compressed"
    info = ("/camera/camera_info", START_NS, a_camera_info(64, 48, 60.0))
    (image,) = stream_of(tmp_path, [info, (topic, START_NS, message)])
    assert abs(image.rgb.astype(int) - rgb).mean() < 3
    assert image.intrinsics is not None and image.intrinsics.fx == 60


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "h265")])
def test_compressed_video_has_the_frame_and_the_stamp_of_each_message(
    tmp_path: Path, codec: str, name: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    options = {"bf": "0"} if codec == "libx264" else {"x265-params": "bframes=0:log-level=none"}
    film = write_film(tmp_path / "f.mkv", grey_levels(5), codec, options=options)
    with av.open(str(film)) as file:
        annexb = av.BitStreamFilterContext(
            f"{'hevc' if name == 'h265' else name}_mp4toannexb", file.streams.video[0]
        )
        packets = [
            bytes(out) for each in file.demux(video=0) if each.size for out in annexb.filter(each)
        ]
    messages = [
        ("/video", START_NS + i * PERIOD_NS, a_compressed_video(data, START_NS + i, name))
        for i, data in enumerate(packets)
    ]
    images = stream_of(tmp_path, messages)
    assert levels_of([image.rgb for image in images]) == [0, 1, 2, 3, 4]
    assert [image.stamp_ns - START_NS for image in images] == [0, 1, 2, 3, 4]
    with pytest.raises(BagError, match="key frame"):
        stream_of(tmp_path / "late", messages[1:])


def test_compressed_video_of_an_unknown_format_is_named(tmp_path: Path) -> None:
    message = a_compressed_video(b"data", START_NS, "prores")
    with pytest.raises(BagError, match="'prores'; known are h264"):
        stream_of(tmp_path, [("/video", START_NS, message)])


INFO = "/camera/camera_info"


def test_a_calibration_that_is_published_once_holds_for_all_images(tmp_path: Path) -> None:
    latched = (INFO, START_NS - 10**9, a_camera_info(8, 6, 10.0, 0))
    images = stream_of(tmp_path, [latched, *images_of(FRAMES)])
    assert [image.intrinsics and image.intrinsics.fx for image in images] == [10] * 4


def test_images_before_a_late_calibration_use_it_too(tmp_path: Path) -> None:
    images = images_of(FRAMES)
    late = (INFO, images[2][1], a_camera_info(8, 6, 10.0))
    found = stream_of(tmp_path, [*images[:2], late, *images[2:]])
    assert [image.intrinsics and image.intrinsics.fx for image in found] == [10] * 4


def test_a_calibration_per_image_is_that_of_its_image(tmp_path: Path) -> None:
    messages: list[Message] = []
    for number, image in enumerate(images_of(FRAMES)):
        messages += [(INFO, image[1] - 1, a_camera_info(8, 6, 10.0 + number)), image]
    found = stream_of(tmp_path, messages)
    assert [image.intrinsics and image.intrinsics.fx for image in found] == [10, 11, 12, 13]


def test_a_missing_calibration_is_a_warning_that_names_what_the_bag_has(tmp_path: Path) -> None:
    other = ("/other/camera_info", START_NS, a_camera_info(8, 6, 10.0))
    messages = [other, *images_of(FRAMES)]
    images, losses, doubts = stream_and_doubts(tmp_path, messages)
    assert {image.intrinsics for image in images} == {None} and losses == ""
    assert "no message on /camera/camera_info; the bag has /other/camera_info" in doubts
    assert doubts.startswith("nothing is metric") and "--camera-info" in doubts
    named = stream_of(tmp_path / "named", messages, info_topic="/other/camera_info")
    assert all(image.intrinsics for image in named)
    with pytest.raises(BagError, match=r"no CameraInfo topic /none.*\(/other/camera_info\)"):
        stream_of(tmp_path / "none", messages, info_topic="/none")


def test_images_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    messages = images_of(FRAMES)
    short = a_raw_image("rgb8", (6, 8), b"short", 24, START_NS + 1)
    messages[1] = (TOPIC, messages[1][1], short)
    images, losses, _ = stream_and_doubts(tmp_path, messages)
    assert [image.index for image in images] == [0, 2, 3]
    assert "1 of 4 images are left out; the first is image 1: The image has 5 bytes" in losses


def test_a_topic_without_a_usable_image_says_why(tmp_path: Path) -> None:
    depth = a_raw_image("16UC1", (6, 8), bytes(96), 16, START_NS)
    with pytest.raises(BagError, match=r"no image of /camera/image_raw can be used.*'16UC1'"):
        stream_of(tmp_path, [(TOPIC, START_NS, depth)])


def test_stamps_of_zero_are_refused_and_the_times_of_recording_offered(tmp_path: Path) -> None:
    messages = images_of(FRAMES, start_ns=0, period_ns=0)
    messages = [(TOPIC, START_NS + i, message) for i, (_, _, message) in enumerate(messages)]
    with pytest.raises(BagError, match=r"zero.*--stamps received"):
        stream_of(tmp_path, messages)
    images = stream_of(tmp_path / "received", messages, received_times=True)
    assert [image.stamp_ns - START_NS for image in images] == [0, 1, 2, 3]


def test_two_sizes_in_one_topic_are_refused_at_the_first_image_of_the_second(
    tmp_path: Path,
) -> None:
    larger = [np.zeros((12, 16, 3), np.uint8)]
    messages = [*images_of(FRAMES), *images_of(larger, start_ns=START_NS + 10**9)]
    with Bag(write_bag(tmp_path / "bag", messages)) as bag:
        images = CameraStream(bag, "").images()
        assert [next(images).index for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(BagError, match="from 8x6 to 16x12 at image 4"):
            next(images)


def test_a_leading_slash_of_a_frame_id_is_removed_as_in_the_node(tmp_path: Path) -> None:
    message = a_raw_image("mono8", (6, 8), bytes(48), 8, START_NS, "/camera_link")
    (image,) = stream_of(tmp_path, [(TOPIC, START_NS, message)])
    assert image.frame_id == "camera_link"


def test_depth_in_its_own_transport_is_no_image_topic(tmp_path: Path) -> None:
    depth = a_compressed_image(b"", START_NS, "16UC1; compressedDepth png")
    messages = [*images_of(FRAMES), ("/depth/image/compressedDepth", START_NS, depth)]
    assert len(stream_of(tmp_path, messages)) == 4
