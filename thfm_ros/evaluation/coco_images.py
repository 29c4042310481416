"""Real pictures through the real pipeline, against annotations that somebody else made."""

from collections.abc import Sequence

from tqdm import tqdm

from thfm_ros.contract import Frame, Task
from thfm_ros.evaluation.coco_annotations import Annotated, AnnotationError
from thfm_ros.evaluation.matching import Judged, judge
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import read_picture
from thfm_ros.perception.frame_window import FrameWindow

TASKS = frozenset({Task.BODIES, Task.SEGMENTATION})


def judged_pictures(
    pipeline: Pipeline, pictures: Sequence[Annotated], fps: float | None
) -> list[Judged]:
    """All pictures in their order.

    Args:
        pipeline: sees each of them.
        pictures: with who is in them.
        fps: they are the frames of one video at this rate; None: each is a clip of its own.
    """
    window = FrameWindow(pipeline.config.window)
    found = []
    for number, each in enumerate(tqdm(pictures, unit="picture", desc="pictures", disable=None)):
        rgb = read_picture(each.path)
        if rgb is None:
            raise AnnotationError(f"{each.path} is missing or no picture.")
        if fps is None:
            window.reset("another picture")
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
