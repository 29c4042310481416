#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Annotate a folder of images with MediaPipe, in COCO format, as pseudo ground truth.

    python3 -m venv peer && peer/bin/pip install mediapipe==0.10.21
    peer/bin/python examples/annotate_with_mediapipe.py pedestrians
    thfm evaluate --images pedestrians

The images are not annotated by hand: what is measured is the agreement with another network, which
detects one person only. This script needs MediaPipe and nothing of thfm_ros.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import mediapipe
import numpy as np

COCO_OF_BLAZE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Which of MediaPipe's 33 landmarks are the 17 COCO keypoints."""
MIN_VISIBILITY = 0.6


def annotation(image: np.ndarray, result: Any, image_id: int) -> dict[str, Any] | None:
    """The detected person in COCO format; None without a detection.

    Args:
        image: [h w 3].
        result: what MediaPipe returned for it.
        image_id: of the image.
    """
    if result.pose_landmarks is None:
        return None
    height, width = image.shape[:2]
    keypoints: list[float] = []
    for index in COCO_OF_BLAZE:
        point = result.pose_landmarks.landmark[index]
        x, y = point.x * width, point.y * height
        inside = 0 <= x < width and 0 <= y < height
        keypoints += [x, y, 2 if inside and point.visibility > MIN_VISIBILITY else 0]
    mask = (np.asarray(result.segmentation_mask) > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [contour.ravel().tolist() for contour in contours if len(contour) >= 3]
    if not polygons:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x, y, w, h],
        "keypoints": keypoints,
        "segmentation": polygons,
    }


def main() -> None:
    """Write annotations.json beside the images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="images (*.png)")
    folder = parser.parse_args().folder
    paths = sorted(folder.glob("*.png"))
    pose = mediapipe.solutions.pose.Pose(static_image_mode=True, enable_segmentation=True)
    annotations = []
    for number, path in enumerate(paths):
        image = cv2.cvtColor(
            cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
        found = annotation(image, pose.process(image), number)
        annotations += [found] if found else []
    images = [{"id": number, "file_name": path.name} for number, path in enumerate(paths)]
    content = {"images": images, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(content))
    print(f"{folder}: a person in {len(annotations)} of {len(paths)} images")


if __name__ == "__main__":
    main()
