# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import dataclasses

import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import Person, box_of
from hypothesis import given
from hypothesis import strategies as st
from perfect_detection import SIZE, K, perfect_detection

from thfm_ros.contract import Task
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.dense_maps import BACKGROUND_ID, Canvas, vector_lengths


def paint(
    *detections: Detection, tasks: frozenset[Task] = frozenset(Task), metric: bool = True
) -> dict[str, np.ndarray]:
    canvas = Canvas(*SIZE, tasks, metric=metric, threshold=0.5, arrays=ArrayPool())
    return canvas.paint(list(enumerate(detections)))


people_in_view = st.builds(
    lambda x, y, z: Person(x * z, y * z, z),
    st.floats(-0.35, 0.35),
    st.floats(-0.1, 0.1),
    st.floats(3, 8),
)


def test_a_neighbour_in_the_crop_is_not_part_of_the_target() -> None:
    person, neighbour = Person(0, 0, 4), Person(0.65, 0, 4.5)
    found = perfect_detection(person, neighbour)
    assert found.target is not None and found.mask is not None
    assert (found.mask > 0.5).sum() > 1.2 * found.target.sum()
    np.testing.assert_allclose(found.body.box, box_of(person, K), atol=8)
    maps = paint(found)
    assert (maps["mask"] > 0.5).sum() > 1.2 * (maps["instances"] == 0).sum()
    beyond = slice(int(box_of(person, K)[2]) + 8, int(box_of(neighbour, K)[2]))
    assert np.isnan(maps["depth_m"][:, beyond]).all()


def test_maps_are_known_on_the_person_and_unknown_elsewhere() -> None:
    person = Person(-0.4, 0.05, 3.5)
    maps = paint(perfect_detection(person))
    x0, y0, x1, y1 = box_of(person, K)
    truth = np.zeros((480, 640), bool)
    truth[round(y0) : round(y1), round(x0) : round(x1)] = True
    person_pixels = maps["instances"] == 0
    overlap = (person_pixels & truth).sum() / (person_pixels | truth).sum()
    assert overlap > 0.95  # cells are 6 pixels wide
    np.testing.assert_array_equal(person_pixels, maps["mask"] > 0.5)
    for name in ("depth_m", "normals", "dense_pose"):
        known = np.isfinite(maps[name]).reshape(480, 640, -1).all(-1)
        np.testing.assert_array_equal(known, person_pixels)
    assert (maps["instances"][~person_pixels] == BACKGROUND_ID).all()
    assert (maps["parts"][~person_pixels] == 0).all()
    assert (maps["parts"][person_pixels] > 0).all()
    assert {name: each.dtype.name for name, each in maps.items()} == {
        "mask": "float32",
        "depth_m": "float32",
        "normals": "float32",
        "parts": "uint8",
        "dense_pose": "float32",
        "instances": "uint16",
    }


@given(people_in_view)
def test_the_depth_of_a_flat_person_is_constant(person: Person) -> None:
    # Without the rotation from the crop's view into the optical frame the edges of a person 30
    # degrees off the axis would be wrong by 0.15 m.
    maps = paint(perfect_detection(person))
    depth = maps["depth_m"][np.isfinite(maps["depth_m"])]
    np.testing.assert_allclose(depth, person.z, rtol=0.005)


@given(people_in_view)
def test_normals_are_unit_vectors_of_the_optical_frame(person: Person) -> None:
    normals = paint(perfect_detection(person), tasks=frozenset([Task.NORMALS]))["normals"]
    known = np.isfinite(normals[..., 0])
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-5)
    expected = np.broadcast_to([0, 0, -1], normals[known].shape)
    np.testing.assert_allclose(normals[known], expected, atol=0.01)


def test_normals_do_not_depend_on_where_their_arrays_lie_in_memory() -> None:
    """Otherwise two runs over the same images give different bytes."""
    values = np.random.default_rng(0).normal(size=(3, 144, 192)).astype(np.float32)

    def at(offset: int, array: np.ndarray) -> np.ndarray:
        room = np.empty(array.nbytes + 128, np.uint8)
        start = -room.ctypes.data % 64 + offset
        moved = room[start : start + array.nbytes].view(np.float32).reshape(array.shape)
        moved[:] = array
        return moved

    offsets = range(0, 64, 4)
    lengths = {
        vector_lengths(at(first, values[0]), at(second, values[1]), values[2]).tobytes()
        for first in offsets
        for second in offsets
    }
    assert len(lengths) == 1
    np.testing.assert_allclose(vector_lengths(*values), np.linalg.norm(values, axis=0), rtol=1e-6)


def test_parts_and_dense_pose_follow_the_person() -> None:
    person = Person(0, 0, 3)
    maps = paint(perfect_detection(person))
    x0, y0, x1, y1 = (round(edge) for edge in box_of(person, K))
    middle, x = (y0 + y1) // 2, (x0 + x1) // 2
    assert set(np.unique(maps["parts"][y0 + 8 : middle - 8, x])) == {3}  # torso
    assert set(np.unique(maps["parts"][middle + 8 : y1 - 8, x])) == {10}  # left_upper_leg
    np.testing.assert_allclose(maps["dense_pose"][middle - 20, x], [3, 0.25, 0.5], atol=1e-3)


def test_the_nearer_person_occludes_the_farther_one() -> None:
    near, far = Person(0.0, 0, 3), Person(0.8, 0, 5)
    for order in ((near, far), (far, near)):
        detections = [
            perfect_detection(near, far) if each is near else perfect_detection(far, near)
            for each in order
        ]
        maps = paint(*detections)
        x0, y0, x1, y1 = (int(edge) for edge in box_of(near, K))
        inner = maps["instances"][y0 + 12 : y1 - 12, x0 + 12 : x1 - 12]
        assert (inner == order.index(near)).mean() > 0.99
        assert (maps["instances"] == order.index(far)).sum() > 1000


def test_without_calibration_depth_is_relative_to_the_nearest_person() -> None:
    near, far = Person(-0.6, 0, 3), Person(1.0, 0, 6)
    detections = [perfect_detection(each, calibrated=False) for each in (far, near)]
    maps = paint(*detections, metric=False)
    assert "depth_m" not in maps
    for index, ratio in ((0, 2.0), (1, 1.0)):
        depth = maps["depth_relative"][maps["instances"] == index]
        assert np.median(depth) == pytest.approx(ratio, rel=0.03)


def test_only_requested_maps_are_painted() -> None:
    found = perfect_detection(Person(0, 0, 3))
    assert paint(found, tasks=frozenset([Task.BODIES])) == {}
    assert paint(found, tasks=frozenset([Task.DEPTH, Task.BODIES])).keys() == {"depth_m"}
    assert paint(found, tasks=frozenset([Task.SEGMENTATION])).keys() == {"mask"}


def test_maps_without_people_are_background() -> None:
    maps = paint()
    assert np.isnan(maps["depth_m"]).all() and not maps["mask"].any()
    assert (maps["instances"] == BACKGROUND_ID).all() and not maps["parts"].any()


def test_a_person_of_unknown_distance_is_painted_behind_the_others() -> None:
    known = perfect_detection(Person(0, 0, 3))
    unknown = dataclasses.replace(perfect_detection(Person(0.3, 0, 3)), root_m=np.full(3, np.nan))
    instances = paint(unknown, known)["instances"]
    x0, y0, x1, y1 = (int(edge) for edge in box_of(Person(0, 0, 3), K))
    assert (instances[y0 + 12 : y1 - 12, x0 + 12 : x1 - 12] == 1).mean() > 0.99
