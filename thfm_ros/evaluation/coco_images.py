# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Annotated real images through the whole pipeline."""

from collections.abc import Sequence

from tqdm import tqdm

from thfm_ros.contract import Frame, Task
from thfm_ros.evaluation.coco_annotations import AnnotatedImage, AnnotationError
from thfm_ros.evaluation.matching import ImageMatches, match_detections
from thfm_ros.loading import Pipeline
from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import read_image
from thfm_ros.perception.frame_window import FrameWindow

TASKS = frozenset({Task.BODIES, Task.SEGMENTATION})


def matched_images(
    pipeline: Pipeline, images: Sequence[AnnotatedImage], fps: float | None
) -> list[ImageMatches]:
    """Run the pipeline on all images in order and match its detections.

    Args:
        pipeline: what is evaluated.
        images: with their ground truth.
        fps: the images are the frames of one video at this rate; None: each is a clip of its own.

    Raises:
        AnnotationError: an image is missing or cannot be read.
    """
    window = FrameWindow(pipeline.config.window)
    found = []
    for number, image in enumerate(tqdm(images, unit="image", desc="images", disable=None)):
        try:
            rgb = read_image(image.path)
        except VideoError as error:
            raise AnnotationError(str(error)) from error
        if fps is None:
            window.reset("another image")
        stamp = round(number / (fps or 1.0) * 1e9)
        clip = window.push(Frame(rgb, stamp, "camera", None))
        assert clip is not None  # stamps rise
        found.append(
            match_detections(
                image.people,
                pipeline.step(clip, TASKS),
                number if fps is None else 0,
                image.person_mask(),
                image.ignore_mask(),
                pipeline.config.decode.mask_threshold,
            )
        )
    return found
