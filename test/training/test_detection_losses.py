# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Losses of detection: zero for perfect outputs, larger for each kind of error."""

import numpy as np
import pytest
import torch

from thfm_ros.model.detection import EDGE_UNIT
from thfm_ros.training.collate import DetectionBatch, collate_detections
from thfm_ros.training.detection_losses import box_loss, detection_losses, focal_loss
from thfm_ros.training.detection_samples import DetectionSample, detection_targets


def sample_of(*boxes: tuple[int, int, int, int]) -> DetectionSample:
    instances = np.zeros((96, 160), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        instances[y0:y1, x0:x1] = number
    return DetectionSample(np.zeros((96, 160, 3), np.uint8), detection_targets(instances))


@pytest.fixture
def batch() -> DetectionBatch:
    return collate_detections([sample_of((20, 8, 60, 90), (80, 16, 120, 90)), sample_of()])


def perfect(batch: DetectionBatch) -> torch.Tensor:
    """Outputs that say exactly what the labels say."""
    centres = torch.where(batch.centres > 0.999, 20.0, -20.0)
    edges = (batch.edges.clamp(min=1e-3) / EDGE_UNIT).log()
    return torch.cat([centres[:, None], edges], 1)


def test_batches_stack_samples(batch: DetectionBatch) -> None:
    assert batch.image.shape == (2, 3, 96, 160) and batch.image.dtype == torch.float32
    assert batch.centres.shape == batch.positive.shape == batch.ignored.shape == (2, 12, 20)
    assert batch.edges.shape == (2, 4, 12, 20)


def test_perfect_outputs_cost_nothing(batch: DetectionBatch) -> None:
    losses = detection_losses(perfect(batch), batch)
    assert losses["centres"].item() == pytest.approx(0, abs=1e-4)
    assert losses["boxes"].item() == pytest.approx(0, abs=1e-4)


def test_a_missed_person_and_a_false_positive_cost(batch: DetectionBatch) -> None:
    good = perfect(batch)
    row, column = np.argwhere(batch.centres[0].numpy() == 1)[0]
    missed, false_positive = good.clone(), good.clone()
    missed[0, 0, row, column] = -20
    false_positive[1, 0, 5, 5] = 20
    for worse in (missed, false_positive):
        # 20 nats of one cell, over two people.
        assert focal_loss(worse[:, 0], batch.centres, batch.ignored).item() == pytest.approx(
            10, abs=0.1
        )


def test_a_detection_beside_a_centre_costs_less_than_one_elsewhere(batch: DetectionBatch) -> None:
    row, column = np.argwhere(batch.centres[0].numpy() == 1)[0]
    near, far = perfect(batch), perfect(batch)
    near[0, 0, row + 1, column] = 20
    far[1, 0, 5, 5] = 20
    losses = [focal_loss(each[:, 0], batch.centres, batch.ignored).item() for each in (near, far)]
    assert losses[0] < 0.5 * losses[1]


def test_ignore_regions_cost_nothing() -> None:
    batch = collate_detections([sample_of((16, 16, 20, 23), (80, 16, 120, 90))])
    assert batch.ignored[0, 2, 2]
    outputs = perfect(batch)
    outputs[0, 0, 2, 2] = 20
    loss = focal_loss(outputs[:, 0], batch.centres, batch.ignored)
    assert loss.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([2.0, 2, 2, 2], 0.0),  # equal
        ([1.0, 2, 1, 2], 0.5),  # half of it: IoU 1/2, the hull is the larger box
        ([4.0, 4, 4, 4], 0.75),  # four times as large
    ],
)
def test_box_loss_is_one_minus_generalized_iou(predicted: list[float], expected: float) -> None:
    outputs = (torch.tensor(predicted) / EDGE_UNIT).log().view(1, 4, 1, 1)
    truth = torch.full((1, 4, 1, 1), 2.0)
    loss = box_loss(outputs, truth, torch.ones(1, 1, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_box_loss_of_a_cell_outside_of_the_box_can_be_learned() -> None:
    """The cell lies one cell to the left of a box that is two cells wide: right is 3, left -1."""
    truth = torch.tensor([-1.0, 2, 3, 2]).view(1, 4, 1, 1)
    outputs = torch.zeros(1, 4, 1, 1, requires_grad=True)
    positive = torch.ones(1, 1, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    first = box_loss(outputs, truth, positive).item()
    for _ in range(200):
        optimizer.zero_grad()
        box_loss(outputs, truth, positive).backward()
        optimizer.step()
    last = box_loss(outputs, truth, positive).item()
    # Distances are positive: at best the box begins at the cell's centre.
    assert last < first and last == pytest.approx(1 / 3, abs=0.05)


def test_without_people_the_box_loss_is_zero_and_has_a_gradient() -> None:
    outputs = torch.zeros(1, 4, 3, 3, requires_grad=True)
    loss = box_loss(outputs, torch.zeros(1, 4, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and outputs.grad is not None and not outputs.grad.any()
