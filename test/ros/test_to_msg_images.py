# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Dense maps as messages: bytes, encodings, unknown pixels, and visualizations."""

import array
import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perceived import CAMERA, HEIGHT, WIDTH, a_body, a_perception, an_image
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Perception
from thfm_ros.geometry import unproject
from thfm_ros.media import drawing
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.to_msg import visualizations
from thfm_ros.ros.to_msg.images import depth_millimetres, image_message, person_labels
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.to_msg.points import PointCloudMaker
from thfm_ros.ros.topics import FrameResult, result_topics

pytestmark = pytest.mark.ros


def sent(message: Image) -> Image:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), Image)


def a_header() -> Header:
    header = Header(frame_id="camera")
    header.stamp.sec, header.stamp.nanosec = 12, 34
    return header


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding", "pixel_bytes"),
    [
        (np.uint8, 0, "mono8", 1),
        (np.uint8, 3, "rgb8", 3),
        (np.uint16, 0, "16UC1", 2),
        (np.float32, 0, "32FC1", 4),
        (np.float32, 3, "32FC3", 12),
    ],
)
def test_an_image_message_equals_one_made_through_the_setter(
    dtype: type, channels: int, encoding: str, pixel_bytes: int
) -> None:
    shape = (5, 7, channels) if channels else (5, 7)
    pixels: np.ndarray = np.random.default_rng(0).uniform(0, 200, shape).astype(dtype)
    message = image_message(pixels, a_header())
    expected = Image(header=a_header(), height=5, width=7, encoding=encoding, step=7 * pixel_bytes)
    expected.is_bigendian = int(sys.byteorder == "big")
    expected.data = array.array("B", pixels.tobytes())
    # Not the serialized bytes: those between two aligned fields are whatever was in memory.
    assert sent(message) == expected


def test_an_image_message_shares_the_memory_of_its_array() -> None:
    pixels = np.zeros((4, 4), np.float32)
    msg = image_message(pixels, a_header())
    assert np.shares_memory(np.frombuffer(msg.data, np.uint8), pixels)


def test_an_array_with_other_strides_is_made_contiguous() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, :, ::-1]
    received = sent(image_message(pixels, a_header()))
    np.testing.assert_array_equal(np.frombuffer(received.data, np.uint8).reshape(2, 4, 3), pixels)


@given(st.lists(st.floats(width=32, allow_infinity=True, allow_nan=True), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_millimetres_are_rounded_and_zero_if_unknown_or_out_of_range(metres: list[float]) -> None:
    converted = depth_millimetres(np.array([metres], np.float32))[0]
    for depth_m, result in zip(metres, converted.tolist(), strict=True):
        mm = depth_m * 1000
        if not 0.5 <= mm < 65535:
            assert result == 0
        else:
            assert abs(result - mm) <= 0.5


def test_labels_are_person_background_or_unlabelled() -> None:
    mask = np.array([[0.0, 0.49, 0.5, 1.0, np.nan]], np.float32)
    np.testing.assert_array_equal(person_labels(mask, 0.5), [[0, 0, 1, 1, 255]])
    np.testing.assert_array_equal(person_labels(mask[:, :4], 0.5), [[0, 0, 1, 1]])


def test_normal_colours_equal_those_of_the_drawing_module() -> None:
    normals = a_perception().normals
    assert normals is not None
    fast, slow = visualizations.normal_colours(normals), drawing.normal_colours(normals)
    assert np.abs(fast.astype(int) - slow).max() <= 1
    assert not fast[np.isnan(normals[..., 0])].any()


def test_dense_pose_colours_equal_those_of_the_drawing_module_up_to_quantisation() -> None:
    dense_pose = a_perception().dense_pose
    assert dense_pose is not None
    fast, slow = (
        visualizations.dense_pose_colours(dense_pose),
        drawing.dense_pose_colours(dense_pose),
    )
    difference = np.abs(fast.astype(int) - slow)
    # A step of u changes the hue by a 32nd, up to 48 levels; a step of v changes five levels.
    assert difference.max() <= 30
    assert not fast[np.isnan(dense_pose[..., 0])].any()


def test_visualizations_without_people_are_black() -> None:
    unknown = np.full((6, 8, 3), np.nan, np.float32)
    assert not visualizations.dense_pose_colours(unknown).any()
    assert not visualizations.normal_colours(unknown).any()


@pytest.mark.parametrize("people", [0, 1, 2])
def test_the_overlay_equals_that_of_the_drawing_module(people: int) -> None:
    bodies = [a_body("abcde"), a_body("fghij", (0.5, 0.1, 3.0), seed=1)][:people]
    perception = a_perception(*bodies)
    assert perception.instances is not None
    perception.instances[10:20, 20:30] = 1  # an index without a body if there are fewer
    rgb = an_image()
    fast, slow = visualizations.overlay(rgb, perception), drawing.overlay(rgb, perception)
    assert np.abs(fast.astype(int) - slow).max() <= 2
    np.testing.assert_array_equal(rgb, an_image())  # the input is unchanged


def fields_of(msg: PointCloud2) -> dict[str, np.ndarray]:
    """Every field as an array [h, w], read by the offsets in the message."""
    raw = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, msg.point_step)
    return {
        field.name: raw[..., field.offset : field.offset + 4].copy().view(np.float32)[..., 0]
        for field in msg.fields
    }


def test_points_are_the_unprojected_depth_with_the_image_colours() -> None:
    perception, rgb = a_perception(a_body()), an_image()
    assert perception.depth_m is not None
    msg = PointCloudMaker(with_normals=False).cloud(perception, rgb, a_header())
    assert msg is not None and not msg.is_dense
    assert (msg.height, msg.width, msg.row_step) == (HEIGHT, WIDTH, WIDTH * msg.point_step)
    read = fields_of(msg)
    xyz = np.stack([read[name] for name in "xyz"], axis=-1)
    np.testing.assert_allclose(xyz, unproject(perception.depth_m, CAMERA), rtol=1e-5, atol=1e-6)
    colour = read["rgb"].view(np.uint32)
    for shift, channel in ((16, 0), (8, 1), (0, 2)):
        np.testing.assert_array_equal((colour >> shift) & 255, rgb[..., channel])


@pytest.mark.parametrize("colour", [(128, 0, 0), (255, 255, 255), (200, 13, 7), (0, 0, 0)])
def test_no_colour_makes_a_point_of_known_depth_nan(colour: tuple[int, int, int]) -> None:
    """Readers that skip points with a NaN in any field, as read_points(skip_nans=True) does."""
    perception, rgb = a_perception(a_body()), an_image()
    rgb[:] = colour
    msg = PointCloudMaker(with_normals=False).cloud(perception, rgb, a_header())
    assert msg is not None and perception.depth_m is not None
    known = np.isfinite(perception.depth_m)
    kept = ~np.any([np.isnan(values) for values in fields_of(msg).values()], axis=0)
    np.testing.assert_array_equal(kept, known)
    red, green, blue = colour
    packed = fields_of(msg)["rgb"].view(np.uint32)
    np.testing.assert_array_equal(packed, red << 16 | green << 8 | blue)


def test_points_have_normals_if_requested() -> None:
    perception = a_perception()
    msg = PointCloudMaker(with_normals=True).cloud(perception, an_image(), a_header())
    assert msg is not None and perception.normals is not None
    read = fields_of(msg)
    np.testing.assert_array_equal(read["normal_y"], perception.normals[..., 1])


def test_points_follow_changed_intrinsics() -> None:
    maker = PointCloudMaker(with_normals=False)
    first, perception = a_perception(), a_perception(seed=1)
    assert maker.cloud(first, an_image(), a_header()) is not None
    small = np.s_[: HEIGHT // 2, : WIDTH // 2]
    k = type(CAMERA)(30.0, 30.0, 16.5, 11.5, WIDTH // 2, HEIGHT // 2)
    assert perception.depth_m is not None
    resized = type(perception)(
        0, "camera", k.width, k.height, k, (), depth_m=perception.depth_m[small].copy()
    )
    msg = maker.cloud(resized, an_image()[small], a_header())
    assert msg is not None and resized.depth_m is not None
    xyz = np.stack([fields_of(msg)[name] for name in "xyz"], axis=-1)
    np.testing.assert_allclose(xyz, unproject(resized.depth_m, k), rtol=1e-5, atol=1e-6)


def test_without_metric_depth_there_are_no_points() -> None:
    perception = a_perception(calibrated=False)
    assert PointCloudMaker(with_normals=False).cloud(perception, an_image(), a_header()) is None


def half(perception: Perception) -> Perception:
    """With maps of half the image's size, as with the parameter output_scale."""
    maps: dict[str, Any] = {
        name: np.ascontiguousarray(values[::2, ::2])
        for name in (*("mask", "depth_m", "normals"), *("parts", "dense_pose", "instances"))
        if (values := getattr(perception, name)) is not None
    }
    return dataclasses.replace(perception, **maps)


def test_points_of_smaller_maps_lie_where_those_of_the_image_size_do() -> None:
    perception = a_perception()
    clouds = [
        PointCloudMaker(with_normals=False).cloud(each, an_image(), a_header())
        for each in (perception, half(perception))
    ]
    assert clouds[0] is not None and clouds[1] is not None
    assert (clouds[1].width, clouds[1].height) == (-(-WIDTH // 2), -(-HEIGHT // 2))
    full, small = (
        np.frombuffer(each.data, np.float32).reshape(each.height, each.width, 4)[..., :3]
        for each in clouds
        if each is not None
    )
    # A small pixel's centre is the corner between four pixels; its depth is that of one of them.
    bound_m = np.nanmax(full[..., 2]) / CAMERA.fx
    difference = np.abs(full[::2, ::2] - small)
    assert np.nanmax(difference[..., :2]) < bound_m and np.nanmax(difference[..., 2]) == 0


def test_the_overlay_of_smaller_maps_tints_the_same_people() -> None:
    perception = a_perception()
    full = visualizations.overlay(an_image(), perception).astype(int)
    small = visualizations.overlay(an_image(), half(perception)).astype(int)
    assert full.shape == small.shape
    assert (np.abs(full - small).max(axis=2) > 30).mean() < 0.1


def test_the_camera_info_of_smaller_depth_fits_it() -> None:
    topics = {topic.name: topic for topic in result_topics(Config(), BodyMarkers(ros_message))}
    result = FrameResult(half(a_perception()), an_image(), a_header(), Config())
    image, info = (topics[f"depth/{name}"].make(result) for name in ("image", "camera_info"))
    assert (info.width, info.height) == (image.width, image.height) == (WIDTH // 2, HEIGHT // 2)
    assert (info.k[0], info.k[4]) == (CAMERA.fx / 2, CAMERA.fy / 2)
    assert (info.k[2] + 0.5, info.k[5] + 0.5) == (CAMERA.cx / 2, CAMERA.cy / 2)
