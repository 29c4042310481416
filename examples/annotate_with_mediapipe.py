#!/usr/bin/env python3
"""Let MediaPipe say who is in a folder of images, in COCO's form, as a stand-in for the truth.

    python3 -m venv peer && peer/bin/pip install mediapipe==0.10.21
    peer/bin/python examples/annotate_with_mediapipe.py walkers
    thfm evaluate --images walkers

Nobody has annotated the images by hand: what is measured is agreement with another network, which
sees one person only. It needs MediaPipe and nothing of thfm_ros.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import mediapipe
import numpy as np

COCO_OF_BLAZE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""MediaPipe's 33 points, in the order of COCO's 17."""
VISIBLE = 0.6


def annotation(image: np.ndarray, said: Any, number: int) -> dict[str, Any] | None:
    """One person in COCO's form; None where nobody was found.

    Args:
        image: [h w 3].
        said: MediaPipe's answer.
        number: of the image.
    """
    if said.pose_landmarks is None:
        return None
    height, width = image.shape[:2]
    keypoints: list[float] = []
    for index in COCO_OF_BLAZE:
        point = said.pose_landmarks.landmark[index]
        x, y = point.x * width, point.y * height
        inside = 0 <= x < width and 0 <= y < height
        keypoints += [x, y, 2 if inside and point.visibility > VISIBLE else 0]
    mask = (np.asarray(said.segmentation_mask) > 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [outline.ravel().tolist() for outline in outlines if len(outline) >= 3]
    if not polygons:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    return {
        "image_id": number,
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
