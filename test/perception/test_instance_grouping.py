# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import cv2
import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception import instance_grouping
from thfm_ros.perception.instance_grouping import Cluster, group_instances

Box = tuple[int, int, int, int]


def a_map(
    boxes: list[Box], noise: float = 0.0, shape: tuple[int, int] = (72, 96), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Mask and votes of rectangular people; the noise of votes is in longer sides of the person."""
    random = np.random.default_rng(seed)
    mask = np.full(shape, 0.02, np.float32)
    votes = np.zeros((2, *shape), np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    for x0, y0, x1, y1 in boxes:
        inside = (slice(y0, y1), slice(x0, x1))
        mask[inside] = 0.95
        error = random.normal(0, noise, (2, y1 - y0, x1 - x0)) * max(x1 - x0, y1 - y0)
        votes[0][inside] = ((x0 + x1) / 2 - x[inside] + error[0]) / max(shape)
        votes[1][inside] = ((y0 + y1) / 2 - y[inside] + error[1]) / max(shape)
    return mask, votes


def find(mask: np.ndarray, votes: np.ndarray, min_side: float = 3) -> list[Cluster]:
    return group_instances(mask, votes, threshold=0.5, radius=0.3, min_side=min_side)[0]


def boxes_of(clusters: list[Cluster]) -> list[list[float]]:
    return sorted(each.box.tolist() for each in clusters)


SCENES = {
    "one": [(10, 10, 30, 60)],
    "two people side by side": [(10, 10, 26, 60), (26, 12, 42, 60)],
    "three people in a row": [(10, 10, 26, 60), (26, 12, 42, 60), (42, 8, 58, 60)],
    "a distant person beside a near one": [(41, 30, 48, 50), (10, 5, 41, 70)],
    "small people, two of them side by side": [
        (10, 10, 14, 21),
        (20, 10, 24, 21),
        (24, 10, 28, 21),
    ],
    "one person above another": [(30, 2, 40, 26), (30, 26, 40, 50)],
}


@pytest.mark.parametrize("boxes", SCENES.values(), ids=SCENES.keys())
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_each_person_is_one_cluster_with_the_right_box(boxes: list[Box], noise: float) -> None:
    found = find(*a_map(boxes, noise))
    np.testing.assert_allclose(boxes_of(found), sorted(map(list, boxes)), atol=1.5)
    assert all(each.score > 0.85 for each in found)


def test_pieces_of_a_person_behind_a_pole_are_one_cluster() -> None:
    mask, votes = a_map([(10, 10, 30, 60)], 0.05)
    mask[30:36] = 0.0
    (found,) = find(mask, votes)
    np.testing.assert_allclose(found.box, [10, 10, 30, 60], atol=1)


@pytest.mark.parametrize("noise", [0.2, 0.6, 2.0])
def test_random_votes_do_not_split_a_component(noise: float) -> None:
    found = find(*a_map([(10, 10, 30, 60)], noise))
    np.testing.assert_allclose(found[0].box, [10, 10, 30, 60], atol=1.5)
    assert len(found[0].members) > 500


def test_disagreeing_votes_lower_the_score() -> None:
    good, bad = (find(*a_map([(10, 10, 30, 60)], noise))[0].score for noise in (0.0, 2.0))
    assert bad < good - 0.05


def test_votes_that_are_too_short_still_separate_people() -> None:
    # as of an uncertain network: the votes end at three quarters of the way
    mask, votes = a_map(SCENES["two people side by side"], 0.01)
    found = find(mask, votes * np.float32(0.75))
    np.testing.assert_allclose(boxes_of(found), [[10, 10, 26, 60], [26, 12, 42, 60]], atol=1.5)


def test_an_empty_mask_has_no_clusters() -> None:
    clusters, numbers = group_instances(
        np.zeros((72, 96), np.float32),
        np.zeros((2, 72, 96), np.float32),
        threshold=0.5,
        radius=0.3,
        min_side=3,
    )
    assert clusters == [] and (numbers == -1).all()


def test_small_clusters_are_dropped() -> None:
    maps = a_map([(10, 10, 14, 21)])
    assert len(find(*maps, min_side=10)) == 1
    assert find(*maps, min_side=12) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 80), st.integers(0, 50), st.integers(2, 40), st.integers(2, 60)),
        max_size=5,
    ),
    st.floats(0, 0.5),
    st.integers(0, 99),
)
def test_the_map_of_numbers_agrees_with_the_clusters(
    rectangles: list[tuple[int, int, int, int]], noise: float, seed: int
) -> None:
    boxes = [(x, y, min(x + w, 96), min(y + h, 72)) for x, y, w, h in rectangles]
    mask, votes = a_map(boxes, noise, seed=seed)
    clusters, numbers = group_instances(mask, votes, threshold=0.5, radius=0.3, min_side=2)
    assert numbers.max() == len(clusters) - 1
    assert (numbers[mask < 0.5] == -1).all()
    for number, each in enumerate(clusters):
        assert (numbers == number).sum() == len(each.members) == len(set(each.members))
        assert 0 <= each.box[0] < each.box[2] <= 96 and 0 <= each.box[1] < each.box[3] <= 72
        assert 0 < each.score <= 1


@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 0.98))
def test_votes_filtered_only_where_the_mask_is_give_the_same_clusters(
    seed: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    blocks = (random.random((4, 5)) < share).repeat(5, 0).repeat(4, 1)
    mask = (blocks * random.uniform(0.3, 1.0, blocks.shape)).astype(np.float32)
    votes = random.normal(0, 0.2, (2, *mask.shape)).astype(np.float32)

    def everywhere(votes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return np.stack([cv2.medianBlur(each, 3)[rows, columns] for each in votes])

    found, numbers = grouped(mask, votes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance_grouping, "_medians", everywhere)
        expected, expected_numbers = grouped(mask, votes)
    np.testing.assert_array_equal(numbers, expected_numbers)
    assert [each.score for each in found] == [each.score for each in expected]


def grouped(mask: np.ndarray, votes: np.ndarray) -> tuple[list[Cluster], np.ndarray]:
    return group_instances(mask, votes, threshold=0.5, radius=0.3, min_side=2)
