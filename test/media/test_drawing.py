# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Overlays and the colours of dense maps."""

import dataclasses

import numpy as np
from fake_engine import Person, box_of, image, pixels_of
from perfect_detection import SIZE, K, perfect_detection

from thfm_ros.contract import Body, Perception, Task, TrackState
from thfm_ros.media import drawing
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.dense_maps import Canvas
from thfm_ros.skeleton import PART_NAMES, Joint

PERSON = Person(0.1, 0, 3)


def a_perception(*ids: str, state: TrackState = TrackState.TRACKED) -> Perception:
    found = perfect_detection(PERSON)
    bodies = tuple(dataclasses.replace(found.body, id=id_, state=state) for id_ in ids)
    canvas = Canvas(*SIZE, frozenset(Task), metric=True, threshold=0.5, arrays=ArrayPool())
    maps = canvas.paint([(0, found)] if ids else [])
    return Perception(0, "camera", *SIZE, K, bodies, **maps)


def test_the_overlay_changes_people_only_and_leaves_the_frame_alone() -> None:
    rgb = image(K)
    before = rgb.copy()
    overlay = drawing.overlay(rgb, a_perception("abcde"))
    np.testing.assert_array_equal(rgb, before)
    assert overlay.shape == rgb.shape and overlay.dtype == np.uint8
    x0, y0, x1, y1 = (int(edge) for edge in box_of(PERSON, K))
    changed = (overlay != rgb).any(axis=2)
    assert changed[y0 + 10 : y1 - 10, x0 + 10 : x1 - 10].mean() > 0.95
    changed[y0 - 20 : y1 + 10, x0 - 10 : x1 + 90] = False  # with the label over the box
    assert not changed.any()


def test_a_frame_without_people_is_unchanged() -> None:
    np.testing.assert_array_equal(drawing.overlay(image(K), a_perception()), image(K))


def test_a_lost_track_is_not_drawn() -> None:
    lost = dataclasses.replace(a_perception("abcde", state=TrackState.LOST), mask=None)
    np.testing.assert_array_equal(drawing.overlay(image(K), lost), image(K))


def test_a_view_with_reversed_channels_can_be_drawn_on() -> None:
    rgb = image(K)
    bgr = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    perception = a_perception("abcde")
    np.testing.assert_array_equal(
        drawing.overlay(bgr, perception), drawing.overlay(rgb, perception)
    )


def drawn(body: Body) -> np.ndarray:
    canvas = np.zeros((480, 640, 3), np.uint8)
    drawing.draw_skeleton(canvas, body)
    return canvas


def test_keypoints_are_drawn_at_their_pixels_and_unknown_ones_are_left_out() -> None:
    body = perfect_detection(PERSON).body
    pixels = pixels_of(PERSON.joints_m(), K).round().astype(int)
    full = drawn(body)
    assert all(full[y - 1 : y + 1, x - 1 : x + 1].any() for x, y in pixels)
    keypoints = np.full_like(body.keypoints, np.nan)
    keypoints[Joint.LEFT_WRIST] = body.keypoints[Joint.LEFT_WRIST]
    one = drawn(dataclasses.replace(body, keypoints=keypoints))
    rows, columns = np.nonzero(one.any(axis=2))
    x, y = pixels[Joint.LEFT_WRIST]
    assert abs(rows - y).max() <= 5 and abs(columns - x).max() <= 5


def test_left_is_green_and_right_is_orange() -> None:
    body = perfect_detection(PERSON).body
    for joint, strongest in ((Joint.LEFT_WRIST, 1), (Joint.RIGHT_WRIST, 0)):
        keypoints = np.full_like(body.keypoints, np.nan)
        keypoints[joint] = body.keypoints[joint]
        colour = drawn(dataclasses.replace(body, keypoints=keypoints)).reshape(-1, 3).max(0)
        assert colour.argmax() == strongest


def test_a_keypoint_far_outside_the_image_does_not_overflow() -> None:
    body = perfect_detection(PERSON).body
    keypoints = body.keypoints.copy()
    keypoints[Joint.LEFT_WRIST] = [1e9, -1e9, 0.5]
    assert drawn(dataclasses.replace(body, keypoints=keypoints)).any()


def test_a_person_keeps_one_colour_and_people_differ() -> None:
    colours = [drawing.colour_of(id_) for id_ in ("abcde", "fghij", "klmno", "abcde")]
    assert colours[0] == colours[3] and len(set(colours)) == 3


def test_near_is_red_far_is_blue_and_unknown_is_black() -> None:
    depth = np.array([[1, 2, 3, np.nan]], np.float32)
    near, middle, far, unknown = drawing.depth_colours(depth)[0].astype(int)
    assert near[0] > near[2] and far[2] > far[0] and middle[1] > max(middle[0], middle[2]) - 60
    assert len({tuple(colour) for colour in (near, middle, far)}) == 3
    assert not unknown.any()
    assert not drawing.depth_colours(np.full((2, 2), np.nan, np.float32)).any()


def test_the_depth_scale_changes_slowly() -> None:
    scale = drawing.DepthScale()
    first = scale.update(np.linspace(1, 2, 100, dtype=np.float32)[None])
    second = scale.update(np.linspace(5, 6, 100, dtype=np.float32)[None])
    assert abs(second[0] - first[0]) < 0.5
    assert scale.update(np.full(3, np.nan, np.float32)[None]) == second
    assert drawing.DepthScale().update(np.full((1, 1), np.nan, np.float32)) == (0.0, 1.0)


def test_a_wall_that_faces_the_camera_is_blue() -> None:
    normals = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0], [np.nan] * 3]], np.float32)
    wall, right, up, unknown = drawing.normal_colours(normals)[0].tolist()
    assert wall == [128, 128, 255] and right == [255, 128, 128] and up == [128, 255, 128]
    assert unknown == [0, 0, 0]


def test_every_part_has_a_colour_of_its_own() -> None:
    parts = np.arange(len(PART_NAMES), dtype=np.uint8)[None]
    colours = drawing.part_colours(parts)[0].tolist()
    assert colours[0] == [0, 0, 0]
    assert len({tuple(colour) for colour in colours}) == len(PART_NAMES)


def test_dense_pose_colours_differ_by_part_u_and_v() -> None:
    dense_pose = np.array(
        [[[3, 0.1, 0.2], [3, 0.4, 0.2], [3, 0.1, 0.9], [4, 0.1, 0.2], [np.nan] * 3]], np.float32
    )
    *known, unknown = drawing.dense_pose_colours(dense_pose)[0].tolist()
    assert len({tuple(colour) for colour in known}) == 4 and unknown == [0, 0, 0]


def test_all_panels_are_in_rows_of_three() -> None:
    perception = a_perception("abcde")
    panels = drawing.side_by_side(image(K), perception, drawing.DepthScale(), panel_width=320)
    assert panels.shape == (2 * 240, 3 * 320, 3)
    without_maps = dataclasses.replace(
        perception, depth_m=None, normals=None, parts=None, dense_pose=None, mask=None
    )
    assert drawing.side_by_side(image(K), without_maps, drawing.DepthScale(), 9999).shape == (
        480,
        1280,
        3,
    )
