import dataclasses

import numpy as np
from fake_engine import Person, box_of, image, pixels_of
from perfect_sight import SIZE, K, sight

from thfm_ros.contract import Body, Perception, Task, TrackState
from thfm_ros.media import drawing as draw
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.dense_maps import Canvas
from thfm_ros.skeleton import PART_NAMES, Joint

PERSON = Person(0.1, 0, 3)


def a_perception(*names: str, state: TrackState = TrackState.TRACKED) -> Perception:
    found = sight(PERSON)
    bodies = tuple(dataclasses.replace(found.body, id=name, state=state) for name in names)
    canvas = Canvas(*SIZE, frozenset(Task), metric=True, threshold=0.5, sheets=ArrayPool())
    maps = canvas.paint([(0, found)] if names else [])
    return Perception(0, "camera", *SIZE, K, bodies, **maps)


def test_the_overlay_changes_people_only_and_leaves_the_frame_alone() -> None:
    rgb = image(K)
    before = rgb.copy()
    drawn = draw.overlay(rgb, a_perception("abcde"))
    np.testing.assert_array_equal(rgb, before)
    assert drawn.shape == rgb.shape and drawn.dtype == np.uint8
    x0, y0, x1, y1 = (int(edge) for edge in box_of(PERSON, K))
    changed = (drawn != rgb).any(axis=2)
    assert changed[y0 + 10 : y1 - 10, x0 + 10 : x1 - 10].mean() > 0.95
    changed[y0 - 20 : y1 + 10, x0 - 10 : x1 + 90] = False  # with the label over the box
    assert not changed.any()


def test_an_empty_room_is_shown_as_it_is() -> None:
    np.testing.assert_array_equal(draw.overlay(image(K), a_perception()), image(K))


def test_somebody_who_is_only_remembered_is_not_drawn() -> None:
    seen = dataclasses.replace(a_perception("abcde", state=TrackState.LOST), mask=None)
    np.testing.assert_array_equal(draw.overlay(image(K), seen), image(K))


def test_views_of_any_order_can_be_drawn_on() -> None:
    rgb = image(K)
    bgr = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    seen = a_perception("abcde")
    np.testing.assert_array_equal(draw.overlay(bgr, seen), draw.overlay(rgb, seen))


def joints_drawn(body: Body) -> np.ndarray:
    canvas = np.zeros((480, 640, 3), np.uint8)
    draw.skeleton(canvas, body)
    return canvas


def test_joints_are_drawn_where_they_are_and_unknown_ones_are_left_out() -> None:
    body = sight(PERSON).body
    places = pixels_of(PERSON.joints_m(), K).round().astype(int)
    full = joints_drawn(body)
    assert all(full[y - 1 : y + 1, x - 1 : x + 1].any() for x, y in places)
    keypoints = np.full_like(body.keypoints, np.nan)
    keypoints[Joint.LEFT_WRIST] = body.keypoints[Joint.LEFT_WRIST]
    one = joints_drawn(dataclasses.replace(body, keypoints=keypoints))
    rows, columns = np.nonzero(one.any(axis=2))
    x, y = places[Joint.LEFT_WRIST]
    assert abs(rows - y).max() <= 5 and abs(columns - x).max() <= 5


def test_left_is_green_and_right_is_orange() -> None:
    body = sight(PERSON).body
    for joint, strongest in ((Joint.LEFT_WRIST, 1), (Joint.RIGHT_WRIST, 0)):
        keypoints = np.full_like(body.keypoints, np.nan)
        keypoints[joint] = body.keypoints[joint]
        colour = joints_drawn(dataclasses.replace(body, keypoints=keypoints)).reshape(-1, 3).max(0)
        assert colour.argmax() == strongest


def test_a_joint_far_outside_the_image_is_no_trouble() -> None:
    body = sight(PERSON).body
    keypoints = body.keypoints.copy()
    keypoints[Joint.LEFT_WRIST] = [1e9, -1e9, 0.5]
    assert joints_drawn(dataclasses.replace(body, keypoints=keypoints)).any()


def test_a_person_keeps_one_colour_and_people_differ() -> None:
    colours = [draw.colour_of(name) for name in ("abcde", "fghij", "klmno", "abcde")]
    assert colours[0] == colours[3] and len(set(colours)) == 3


def test_near_is_red_far_is_blue_and_unknown_is_black() -> None:
    depth = np.array([[1, 2, 3, np.nan]], np.float32)
    near, middle, far, unknown = draw.depth_colours(depth)[0].astype(int)
    assert near[0] > near[2] and far[2] > far[0] and middle[1] > max(middle[0], middle[2]) - 60
    assert len({tuple(colour) for colour in (near, middle, far)}) == 3
    assert not unknown.any()
    assert not draw.depth_colours(np.full((2, 2), np.nan, np.float32)).any()


def test_the_scale_of_depth_follows_slowly() -> None:
    scale = draw.DepthScale()
    first = scale.follow(np.linspace(1, 2, 100, dtype=np.float32)[None])
    second = scale.follow(np.linspace(5, 6, 100, dtype=np.float32)[None])
    assert abs(second[0] - first[0]) < 0.5
    assert scale.follow(np.full(3, np.nan, np.float32)[None]) == second
    assert draw.DepthScale().follow(np.full((1, 1), np.nan, np.float32)) == (0.0, 1.0)


def test_a_wall_that_faces_the_camera_is_blue() -> None:
    normals = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0], [np.nan] * 3]], np.float32)
    wall, right, up, unknown = draw.normal_colours(normals)[0].tolist()
    assert wall == [128, 128, 255] and right == [255, 128, 128] and up == [128, 255, 128]
    assert unknown == [0, 0, 0]


def test_every_part_has_a_colour_of_its_own() -> None:
    parts = np.arange(len(PART_NAMES), dtype=np.uint8)[None]
    colours = draw.part_colours(parts)[0].tolist()
    assert colours[0] == [0, 0, 0]
    assert len({tuple(colour) for colour in colours}) == len(PART_NAMES)


def test_dense_pose_runs_round_and_along_each_part() -> None:
    surface = np.array(
        [[[3, 0.1, 0.2], [3, 0.4, 0.2], [3, 0.1, 0.9], [4, 0.1, 0.2], [np.nan] * 3]], np.float32
    )
    *known, unknown = draw.dense_pose_colours(surface)[0].tolist()
    assert len({tuple(colour) for colour in known}) == 4 and unknown == [0, 0, 0]


def test_all_maps_stand_side_by_side_in_rows_of_three() -> None:
    seen = a_perception("abcde")
    sheet = draw.side_by_side(image(K), seen, draw.DepthScale(), panel_width=320)
    assert sheet.shape == (2 * 240, 3 * 320, 3)
    flat = dataclasses.replace(
        seen, depth_m=None, normals=None, parts=None, dense_pose=None, mask=None
    )
    assert draw.side_by_side(image(K), flat, draw.DepthScale(), 9999).shape == (480, 1280, 3)
