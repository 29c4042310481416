"""Real images through the real pipeline, against annotations that somebody else made."""

from collections.abc import Sequence

from tqdm import tqdm

from thfm_ros.contract import Frame, Task
from thfm_ros.evaluation.coco_annotations import Annotated, AnnotationError
from thfm_ros.evaluation.matching import ImageMatches, judge
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import read_image
from thfm_ros.perception.frame_window import FrameWindow

TASKS = frozenset({Task.BODIES, Task.SEGMENTATION})


def judged_images(
    pipeline: Pipeline, images: Sequence[Annotated], fps: float | None
) -> list[ImageMatches]:
    """All images in their order.

    Args:
        pipeline: sees each of them.
        images: with who is in them.
        fps: they are the frames of one video at this rate; None: each is a clip of its own.
    """
    window = FrameWindow(pipeline.config.window)
    found = []
    for number, each in enumerate(tqdm(images, unit="image", desc="images", disable=None)):
        rgb = read_image(each.path)
        if rgb is None:
            raise AnnotationError(f"{each.path} is missing or no image.")
        if fps is None:
            window.reset("another image")
        stamp = round(number / (fps or 1.0) * 1e9)
        clip = window.push(Frame(rgb, stamp, "camera", None))
        assert clip is not None  # stamps rise
        seen = pipeline.step(clip, TASKS)
        found.append(
            judge(
                each.people,
                seen,
                number if fps is None else 0,
                each.outline(),
                each.unsure(),
                pipeline.config.decode.mask_threshold,
            )
        )
    return found
