"""How good a network is on held-out crops: one row of figures, each beside its baseline."""

import numpy as np
import torch

from thfm_ros.metrics import pose as metrics
from thfm_ros.model.network import NanoNetwork
from thfm_ros.skeleton import FLIP_PAIRS, PART_NAMES
from thfm_ros.training.losses import Batch

Scores = dict[str, float]


def score(network: NanoNetwork, batches: list[Batch]) -> Scores:
    """Evaluate on fixed batches of still images."""
    return scores_of(predict(network, batches), batches)


def predict(network: NanoNetwork, batches: list[Batch]) -> dict[str, np.ndarray]:
    """What the network says, by the names of the labels; frames of clips in their order."""
    network.eval()
    collected: dict[str, list[np.ndarray]] = {}
    with torch.no_grad():
        for batch in batches:
            out = network(batch.image)
            assert out.dense is not None
            maps = out.dense.numpy()
            for name, value in {
                "mask": maps[:, 0] > 0,
                "parts": maps[:, 1:18].argmax(1).astype(np.uint8),
                "relief": maps[:, 18],
                "normals": maps[:, 19:22].transpose(0, 2, 3, 1),
                "surface": maps[:, 22:25].transpose(0, 2, 3, 1),
                "peaks": out.peaks.numpy(),
                "positions": out.positions.numpy(),
                "log_width": out.log_width.numpy(),
            }.items():
                collected.setdefault(name, []).append(value)
    network.train()
    return {name: np.concatenate(values) for name, values in collected.items()}


def scores_of(predicted: dict[str, np.ndarray], batches: list[Batch]) -> Scores:
    """The figures of the whole set, as the trainer follows them."""
    return {**_dense(predicted, batches), **_body(predicted, batches)}


def _joined(batches: list[Batch], name: str) -> np.ndarray:
    return np.concatenate([getattr(batch, name).numpy() for batch in batches])


def _dense(predicted: dict[str, np.ndarray], batches: list[Batch]) -> Scores:
    person = _joined(batches, "instances") > 0
    parts = np.where(predicted["mask"], predicted["parts"], 0).astype(np.uint8)
    known, relief = _joined(batches, "relief_known"), _joined(batches, "relief")
    target = known & (_joined(batches, "instances") == 1)
    normals, truth = predicted["normals"][person], _joined(batches, "normals")[person]
    error, flat = [], []
    for i in range(len(target)):
        if target[i].sum() >= 30:
            mine = target[i]
            error.append(metrics.relief_rmse(predicted["relief"][i][mine], relief[i][mine]))
            flat.append(metrics.relief_rmse(np.zeros(mine.sum()), relief[i][mine]))
    return {
        "mask_iou": float(np.nanmean(metrics.iou(predicted["mask"], person))),
        "part_miou": float(
            np.nanmean(metrics.part_iou(parts, _joined(batches, "parts"), len(PART_NAMES)))
        ),
        "normals_deg": float(metrics.angles_deg(normals, truth).mean()),
        "normals_deg_constant": float(
            metrics.angles_deg(np.broadcast_to(truth.mean(0), truth.shape), truth).mean()
        ),
        "surface_near": surface_near(
            predicted["surface"][person],
            _joined(batches, "surface")[person],
            (parts == _joined(batches, "parts"))[person],
        ),
        "relief_cm": 100 * float(np.mean(error)),
        "relief_cm_constant": 100 * float(np.mean(flat)),
    }


def _body(predicted: dict[str, np.ndarray], batches: list[Batch]) -> Scores:
    truth, visible = _joined(batches, "peaks"), _joined(batches, "visibility") == 2
    errors = metrics.normalised_errors(predicted["peaks"], truth, visible)
    mirrored = metrics.normalised_errors(predicted["peaks"][:, list(FLIP_PAIRS)], truth, visible)
    better = metrics.swapped(errors, mirrored)
    here = _joined(batches, "presence") > 0
    positions, space = predicted["positions"][here], _joined(batches, "positions")[here]
    width = _joined(batches, "log_width")[here]
    mean_pose = np.broadcast_to(space.mean(0), space.shape)
    mean_shape = np.broadcast_to(metrics.mean_shape(space), space.shape)
    row = {
        "pck10": metrics.pck(errors, 0.1),
        "pck05": metrics.pck(errors, 0.05),
        "swapped": float(better.mean()),
        "mpjpe_mm": 1000 * float(np.linalg.norm(positions - space, axis=-1).mean()),
        "mpjpe_mm_mean_pose": 1000 * float(np.linalg.norm(mean_pose - space, axis=-1).mean()),
        "pa_mpjpe_mm": 1000 * float(metrics.aligned_errors(positions, space).mean()),
        "pa_mpjpe_mm_mean_shape": 1000 * float(metrics.aligned_errors(mean_shape, space).mean()),
        "z_error_mm": 1000 * float(np.abs(positions - space)[..., 2].mean()),
        "z_error_mm_mean_pose": 1000 * float(np.abs(mean_pose - space)[..., 2].mean()),
        "log_width_error": float(np.nanmean(np.abs(predicted["log_width"][here] - width))),
        "log_width_error_mean": float(np.nanmean(np.abs(np.nanmean(width) - width))),
    }
    for limb, joints in metrics.LIMBS.items():
        row[f"pck10_{limb}"] = metrics.pck(errors[:, list(joints)], 0.1)
    return row


def surface_near(predicted: np.ndarray, truth: np.ndarray, right_part: np.ndarray) -> float:
    """Share of pixels whose part is right, and the place on it to 1/8 turn and 0.1 along."""
    turn = metrics.angles_deg(
        np.pad(predicted[:, :2], ((0, 0), (0, 1))), np.pad(truth[:, :2], ((0, 0), (0, 1)))
    )
    near = (turn < 45) & (np.abs(predicted[:, 2] - truth[:, 2]) < 0.1)
    return float((near & right_part).mean())


def baselines(batches: list[Batch]) -> Scores:
    """What needs no network: the median pose put into the true box, the true box filled.

    They are given the true box, which the network has to find, and the median of these very
    people.
    """
    truth, visible = _joined(batches, "peaks"), _joined(batches, "visibility") == 2
    low = truth.min(1, keepdims=True)
    side = np.maximum(truth.max(1, keepdims=True) - low, 1e-6)
    pose = np.median((truth - low) / side, axis=0)  # a mean has its head below the hats
    mirrored = pose[list(FLIP_PAIRS)] * [-1, 1] + [1, 0]
    errors = metrics.normalised_errors(low + (pose + mirrored) / 2 * side, truth, visible)
    facing = metrics.as_if_facing(truth, visible)
    straight = metrics.normalised_errors(facing, truth, visible)
    crossed = metrics.normalised_errors(facing[:, list(FLIP_PAIRS)], truth, visible)
    person = _joined(batches, "instances") > 0
    rows, columns = np.asarray(person.any(2)), np.asarray(person.any(1))
    boxes = rows[:, :, None] & columns[:, None, :]
    torso = np.full(person.shape, PART_NAMES.index("torso"), np.uint8) * person
    found = {
        "swapped_facing": float(metrics.swapped(straight, crossed).mean()),
        "pck10_mean": metrics.pck(errors, 0.1),
        "pck05_mean": metrics.pck(errors, 0.05),
        "mask_iou_box": float(np.nanmean(metrics.iou(boxes, person))),
        "part_miou_torso": float(
            np.nanmean(
                metrics.part_iou(torso.astype(np.uint8), _joined(batches, "parts"), len(PART_NAMES))
            )
        ),
    }
    for limb, joints in metrics.LIMBS.items():
        found[f"pck10_mean_{limb}"] = metrics.pck(errors[:, list(joints)], 0.1)
    return found
