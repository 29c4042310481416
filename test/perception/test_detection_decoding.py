# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Proposals from the detection read-out: their boxes, and how many there are."""

import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import Person, box_of, camera, encoded_boxes, perfect_detections
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.contract import PixelMap
from thfm_ros.model import detection
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception import detection_decoding
from thfm_ros.perception.crop_region import contains_box, frame_tiles, whole_frame
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.detection_decoding import find_proposals

K = camera()
SIZE = (K.width, K.height)
NETWORK = (320, 240)
THRESHOLD = 0.15
ONE_TO_ONE = PixelMap(1.0, 0.0, 0.0, *NETWORK)


def proposals(
    outputs: DetectionOutputs,
    region: PixelMap = ONE_TO_ONE,
    image_size: tuple[int, int] = NETWORK,
) -> list[Proposal]:
    return find_proposals(outputs, region, image_size, THRESHOLD)


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def test_a_box_comes_back_in_pixels_of_the_source_image() -> None:
    """By hand: cell (10, 4) has its centre at (84, 36); distances are 4 exp(0) cells = 32."""
    centres = np.full((30, 40), -8, np.float32)
    edges = np.zeros((4, 30, 40), np.float32)
    centres[4, 10] = logit(0.8)
    edges[:, 4, 10] = np.log([0.5, 1, 0.75, 2])  # left, top, right, bottom
    region = PixelMap(2.5, 30.0, -20.0, *NETWORK)
    (found,) = proposals(DetectionOutputs(centres, edges), region, (1000, 1000))
    left, top, right, bottom = 84 - 16, 36 - 32, 84 + 24, 36 + 64
    expected = [30 + 2.5 * left, -20 + 2.5 * top, 30 + 2.5 * right, -20 + 2.5 * bottom]
    expected[1] = max(expected[1], 0)
    np.testing.assert_allclose(found.box, expected, rtol=1e-5)
    assert found.score == pytest.approx(0.8, abs=1e-5)
    assert found.box.dtype == np.float32


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    """Any box of at least a cell inside a network image, in its pixels."""
    edges = []
    for length in NETWORK:
        side = draw(st.floats(8, length))
        low = draw(st.floats(0, length - side))
        edges.append((low, low + side))
    (left, right), (top, bottom) = edges
    return np.array([left, top, right, bottom])


@given(box=boxes(), scale=st.floats(0.25, 6), x=st.floats(-300, 300), y=st.floats(-300, 300))
def test_any_box_inside_a_region_is_decoded_within_half_a_network_pixel(
    box: np.ndarray, scale: float, x: float, y: float
) -> None:
    region = PixelMap(scale, x, y, *NETWORK)
    (found,) = proposals(encoded_boxes([box], *NETWORK), region, (4000, 4000))
    source = np.clip(np.array([x, y, x, y]) + scale * box, 0, 4000)
    np.testing.assert_allclose(found.box, source, atol=0.5 * scale)


def test_all_people_are_proposed_in_the_whole_image() -> None:
    people = [Person(-1.5, 0, 5), Person(-0.9, 0.1, 5), Person(0.8, 0, 4), Person(3.0, 0, 9)]
    region = whole_frame(*SIZE, NETWORK)
    found = proposals(perfect_detections(region, K, people), region, SIZE)
    truth = sorted(np.clip(box_of(each, K), 0, [*SIZE, *SIZE]).tolist() for each in people)
    np.testing.assert_allclose(
        sorted(each.box.tolist() for each in found), truth, atol=0.5 * region.scale
    )
    assert all(each.score > 0.9 for each in found)


def test_a_small_person_is_proposed_in_a_tile() -> None:
    person = Person(3.0, 0.2, 14)
    regions = [
        region for region in frame_tiles(*SIZE, NETWORK) if contains_box(region, box_of(person, K))
    ]
    assert regions
    for region in regions:
        (found,) = proposals(perfect_detections(region, K, [person]), region, SIZE)
        np.testing.assert_allclose(found.box, box_of(person, K), atol=0.5 * region.scale)


def test_two_near_people_give_two_proposals() -> None:
    one, other = np.array([100, 60, 150, 200]), np.array([112, 66, 164, 204])
    found = proposals(encoded_boxes([one, other], *NETWORK))
    np.testing.assert_allclose(sorted(each.box.tolist() for each in found), [one, other], atol=0.1)


@pytest.mark.parametrize("columns", [(12, 13), (12, 14), (11, 14)])
@pytest.mark.parametrize("scores", [(0.9, 0.6), (0.6, 0.9), (0.7, 0.7)])
def test_two_peaks_of_one_person_give_one_proposal(
    columns: tuple[int, int], scores: tuple[float, float]
) -> None:
    box = np.array([70.0, 50.0, 140.0, 190.0]) / 8
    centres = np.full((30, 40), -8, np.float32)
    edges = np.zeros((4, 30, 40), np.float32)
    for column, score in zip(columns, scores, strict=True):
        centres[15, column] = logit(score)
        centre = np.array([column, 15]) + 0.5
        edges[:, 15, column] = np.log(np.concatenate([centre - box[:2], box[2:] - centre]) / 4)
    (found,) = proposals(DetectionOutputs(centres, edges))
    assert found.score == pytest.approx(max(scores), abs=1e-5)
    np.testing.assert_allclose(found.box, box * 8, atol=0.1)


@pytest.mark.parametrize(("score", "count"), [(0.1, 0), (0.14, 0), (0.16, 1), (0.9, 1)])
def test_below_the_threshold_there_is_no_proposal(score: float, count: int) -> None:
    outputs = encoded_boxes([np.array([100, 60, 150, 200])], *NETWORK)
    outputs.centres[outputs.centres > 0] = logit(score)
    assert len(proposals(outputs)) == count


def test_an_image_without_people_gives_no_proposal() -> None:
    assert proposals(encoded_boxes([], *NETWORK)) == []


def test_the_proposals_with_the_highest_scores_come_first() -> None:
    boxes = [np.array([x, 60, x + 40, 160]) for x in (20, 100, 180, 260)]
    outputs = encoded_boxes(boxes, *NETWORK)
    rows, columns = np.nonzero(outputs.centres > 0)
    outputs.centres[rows, columns] = [logit(score) for score in (0.4, 0.9, 0.2, 0.6)]
    assert [round(each.score, 3) for each in proposals(outputs)] == [0.9, 0.6, 0.4, 0.2]


def test_boxes_are_clipped_to_the_image() -> None:
    """The upper and lower eighth of the network image are beyond an image of 640 x 360."""
    region = PixelMap(2.0, 0.0, -60.0, *NETWORK)
    outputs = encoded_boxes([np.array([250, 10, 318, 235])], *NETWORK)
    outputs.edges[2] += 1.0  # to the right of the network image, too
    (found,) = proposals(outputs, region, (640, 360))
    np.testing.assert_allclose(found.box, [500, 0, 640, 360], atol=0.5)


def test_cells_and_units_are_those_of_the_read_out() -> None:
    assert detection_decoding.DETECTION_CELL_PX == detection.STRIDE
    assert detection_decoding._DISTANCE_UNIT == detection.EDGE_UNIT
