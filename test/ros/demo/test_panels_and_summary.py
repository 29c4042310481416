"""What the demo counts and draws, without processes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_moments import MS, a_body, a_moment
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.ros.demo.command import main
from thfm_ros.ros.demo.panels import (
    Moment,
    Painter,
    Spool,
    depth_range,
    panel_size,
    write_contact_sheet,
    write_film,
)
from thfm_ros.ros.demo.summary import Tally, topic_kind


def test_what_came_before_the_first_result_is_not_counted() -> None:
    tally = Tally()
    for number in range(10):
        tally.image(number * 100 * MS)
    tally.result(7 * 100 * MS, 7 * 100 * MS + 30 * MS, [], metric=True)
    assert tally.images == 3  # 7, 8 and 9


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=50))
def test_latency_is_the_percentile_of_arrival_minus_stamp(late_ms: list[float]) -> None:
    tally = Tally()
    for number, late in enumerate(late_ms):
        stamp = number * 100 * MS
        tally.result(stamp, stamp + round(late * MS), ["abcde"], metric=True)
    said = tally.summary()["latency_ms"]
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert said[name] == pytest.approx(np.percentile(late_ms, share), abs=0.06)


def test_nothing_measured_is_none_and_not_zero() -> None:
    said = Tally().summary()
    assert said["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert said["people_per_image"] == {"mean": None, "max": None}
    assert said["results"] == 0


def test_topics_of_a_body_are_counted_together() -> None:
    assert topic_kind("/humans/bodies/abcde/joint_states") == "/humans/bodies/<id>/joint_states"
    assert topic_kind("/humans/bodies/tracked") == "/humans/bodies/tracked"


@pytest.mark.parametrize(
    ("metric", "failed"),
    [(True, ["/thfm/depth/image", "/thfm/parts/image"]), (False, ["/thfm/parts/image"])],
)
def test_metric_topics_may_be_silent_only_without_a_scale(metric: bool, failed: list[str]) -> None:
    tally = Tally()
    for name in ("depth/image", "depth_relative/image", "parts/image", "bodies"):
        tally.expect(f"/thfm/{name}")
    tally.message("/thfm/bodies")
    if not metric:
        tally.message("/thfm/depth_relative/image")
    tally.result(0, 1, [], metric=metric)
    assert tally.silent() == failed


@settings(max_examples=25, deadline=None)
@given(offered=st.integers(0, 60), most=st.integers(2, 20))
def test_the_spool_keeps_a_bounded_even_choice(
    tmp_path_factory: pytest.TempPathFactory, offered: int, most: int
) -> None:
    spool = Spool(tmp_path_factory.getbasetemp(), most)
    for number in range(offered):
        spool.add(a_moment(number))
    numbers = [moment.stamp_ns // (100 * MS) for moment in spool]
    assert len(numbers) <= most
    assert offered == 0 or numbers[0] == 0
    assert len(set(np.diff(numbers))) <= 1  # evenly spaced
    for number, moment in zip(numbers, spool, strict=True):
        assert (moment.rgb == number).all() and (moment.depth == number).all()
        assert (moment.labels == number % 2).all()


@given(width=st.integers(1, 8192), height=st.integers(1, 8192))
def test_panels_are_even_and_keep_the_image_s_shape(width: int, height: int) -> None:
    panel_width, panel_height = panel_size(width, height)
    assert panel_width % 2 == panel_height % 2 == 0
    assert min(panel_width, panel_height) >= 2 and max(panel_width, panel_height) <= 640
    scale = min(640 / max(width, height), 2)
    assert abs(panel_width - width * scale) <= 2 and abs(panel_height - height * scale) <= 2


def test_the_depth_s_colours_span_what_is_known(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert depth_range(spool) == (0.0, 1.0)
    for number in (2, 3, 8):
        spool.add(a_moment(number))
    near, far = depth_range(spool)
    assert near == pytest.approx(2, abs=0.1) and far == pytest.approx(8, abs=0.2)


def test_unknown_depth_keeps_the_image_and_unknown_joints_are_not_drawn() -> None:
    moment = a_moment(200, (a_body(),))
    moment.depth[:40] = np.nan
    strip = Painter((100.0, 300.0), metric=True).strip(moment)
    depth = strip[:, 3 * 80 :]
    assert strip.shape == (60, 4 * 80, 3)
    assert (depth[30:40] == 60).all()  # the image's grey, dimmed: nothing is known there
    assert (depth[40:].max(-1) > depth[40:].min(-1)).all()  # a colour
    skeletons = strip[22:, 2 * 80 : 3 * 80]
    assert len(np.unique(skeletons[:, 40:].reshape(-1, 3), axis=0)) == 1  # no limb anywhere


def test_a_film_has_a_image_for_each_moment(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(12):
        spool.add(a_moment(number))
    write_film(spool, Painter((0.0, 12.0), metric=False), tmp_path / "f.mp4")
    film = cv2.VideoCapture(str(tmp_path / "f.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)


def test_images_of_any_shape_are_fitted_into_the_largest_s_frame(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number, (width, height) in enumerate([(60, 80), (80, 60), (100, 20)]):
        spool.add(of_size(a_moment(number), width, height))
    painter = Painter((0.0, 12.0), metric=False)
    write_film(spool, painter, tmp_path / "f.mp4")
    write_contact_sheet(spool, painter, tmp_path / "c.png")
    assert cv2.VideoCapture(str(tmp_path / "f.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3
    sheet = cv2.imread(str(tmp_path / "c.png"))
    assert sheet is not None and sheet.shape == (3 * 80, 4 * 100, 3)


def of_size(moment: Moment, width: int, height: int) -> Moment:
    rgb = np.full((height, width, 3), 9, np.uint8)
    return replace(moment, rgb=rgb, labels=rgb[..., 0], depth=rgb[..., 0].astype(np.float16))


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--video", "a", "--camera", "0"]])
def test_options_that_cannot_be_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
