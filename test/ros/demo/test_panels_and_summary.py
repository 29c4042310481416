# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The demo's summary, frame buffer and drawing, without processes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_frames import MS, a_body, a_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.ros.demo.command import main
from thfm_ros.ros.demo.panels import (
    AnnotatedFrame,
    DiskFrameBuffer,
    PanelRenderer,
    depth_range,
    panel_size,
    write_contact_sheet,
    write_video,
)
from thfm_ros.ros.demo.summary import DemoSummary, topic_pattern


def test_images_before_the_first_result_are_not_counted() -> None:
    summary = DemoSummary()
    for number in range(10):
        summary.add_image(number * 100 * MS)
    summary.add_result(7 * 100 * MS, 7 * 100 * MS + 30 * MS, [], metric=True)
    assert summary.images == 3  # 7, 8 and 9


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=50))
def test_latency_percentiles_are_of_arrival_minus_stamp(latencies_ms: list[float]) -> None:
    summary = DemoSummary()
    for number, latency_ms in enumerate(latencies_ms):
        stamp = number * 100 * MS
        summary.add_result(stamp, stamp + round(latency_ms * MS), ["abcde"], metric=True)
    values = summary.as_json()["latency_ms"]
    for name, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert values[name] == pytest.approx(np.percentile(latencies_ms, percent), abs=0.06)


def test_values_that_were_not_measured_are_none() -> None:
    values = DemoSummary().as_json()
    assert values["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert values["people_per_image"] == {"mean": None, "measured": None, "max": None}
    assert values["results"] == 0


def test_people_who_are_predicted_count_as_people_of_the_image_but_not_as_measured() -> None:
    summary = DemoSummary()
    summary.add_result(0, 1, ["abcde"], metric=True, predicted=["fghij", "klmno"])
    summary.add_result(1, 2, ["fghij"], metric=True)
    assert summary.as_json()["people_per_image"] == {"mean": 2.0, "measured": 1.0, "max": 3}
    assert summary.as_json()["bodies_seen"] == 3


def test_topics_of_all_bodies_are_counted_together() -> None:
    assert topic_pattern("/humans/bodies/abcde/joint_states") == "/humans/bodies/<id>/joint_states"
    assert topic_pattern("/humans/bodies/tracked") == "/humans/bodies/tracked"


@pytest.mark.parametrize(
    ("metric", "failed"),
    [(True, ["/thfm/depth/image", "/thfm/parts/image"]), (False, ["/thfm/parts/image"])],
)
def test_metric_topics_may_have_no_messages_only_without_a_metric_scale(
    metric: bool, failed: list[str]
) -> None:
    summary = DemoSummary()
    for name in ("depth/image", "depth_relative/image", "parts/image", "bodies"):
        summary.add_topic(f"/thfm/{name}")
    summary.count_message("/thfm/bodies")
    if not metric:
        summary.count_message("/thfm/depth_relative/image")
    summary.add_result(0, 1, [], metric=metric)
    assert summary.topics_without_messages() == failed


@settings(max_examples=25, deadline=None)
@given(added=st.integers(0, 60), capacity=st.integers(2, 20))
def test_the_buffer_keeps_evenly_spaced_frames_up_to_its_capacity(
    tmp_path_factory: pytest.TempPathFactory, added: int, capacity: int
) -> None:
    buffer = DiskFrameBuffer(tmp_path_factory.getbasetemp(), capacity)
    for number in range(added):
        buffer.add(a_frame(number))
    numbers = [frame.stamp_ns // (100 * MS) for frame in buffer]
    assert len(numbers) <= capacity
    assert added == 0 or numbers[0] == 0
    assert len(set(np.diff(numbers))) <= 1  # evenly spaced
    for number, frame in zip(numbers, buffer, strict=True):
        assert (frame.rgb == number).all() and (frame.depth == number).all()
        assert (frame.labels == number % 2).all()


@given(width=st.integers(1, 8192), height=st.integers(1, 8192))
def test_panels_have_even_sizes_and_keep_the_aspect_ratio(width: int, height: int) -> None:
    panel_width, panel_height = panel_size(width, height)
    assert panel_width % 2 == panel_height % 2 == 0
    assert min(panel_width, panel_height) >= 2 and max(panel_width, panel_height) <= 640
    scale = min(640 / max(width, height), 2)
    assert abs(panel_width - width * scale) <= 2 and abs(panel_height - height * scale) <= 2


def test_the_colour_scale_spans_the_known_depth(tmp_path: Path) -> None:
    buffer = DiskFrameBuffer(tmp_path)
    assert depth_range(buffer) == (0.0, 1.0)
    for number in (2, 3, 8):
        buffer.add(a_frame(number))
    near, far = depth_range(buffer)
    assert near == pytest.approx(2, abs=0.1) and far == pytest.approx(8, abs=0.2)


def test_unknown_depth_shows_the_dimmed_image_and_unknown_keypoints_are_not_drawn() -> None:
    frame = a_frame(200, (a_body(),))
    frame.depth[:40] = np.nan
    strip = PanelRenderer((100.0, 300.0), metric=True).render(frame)
    depth = strip[:, 3 * 80 :]
    assert strip.shape == (60, 4 * 80, 3)
    assert (depth[30:40] == 60).all()  # the dimmed grey image: depth is unknown there
    assert (depth[40:].max(-1) > depth[40:].min(-1)).all()  # in colour
    skeletons = strip[22:, 2 * 80 : 3 * 80]
    assert len(np.unique(skeletons[:, 40:].reshape(-1, 3), axis=0)) == 1  # no bone


def test_the_video_has_an_image_for_each_frame(tmp_path: Path) -> None:
    buffer = DiskFrameBuffer(tmp_path)
    for number in range(12):
        buffer.add(a_frame(number))
    write_video(buffer, PanelRenderer((0.0, 12.0), metric=False), tmp_path / "f.mp4")
    video = cv2.VideoCapture(str(tmp_path / "f.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)


def test_frames_of_any_size_are_fitted_into_that_of_the_largest(tmp_path: Path) -> None:
    buffer = DiskFrameBuffer(tmp_path)
    for number, (width, height) in enumerate([(60, 80), (80, 60), (100, 20)]):
        buffer.add(of_size(a_frame(number), width, height))
    renderer = PanelRenderer((0.0, 12.0), metric=False)
    write_video(buffer, renderer, tmp_path / "f.mp4")
    write_contact_sheet(buffer, renderer, tmp_path / "c.png")
    assert cv2.VideoCapture(str(tmp_path / "f.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3
    sheet = cv2.imread(str(tmp_path / "c.png"))
    assert sheet is not None and sheet.shape == (3 * 80, 4 * 100, 3)


def of_size(frame: AnnotatedFrame, width: int, height: int) -> AnnotatedFrame:
    rgb = np.full((height, width, 3), 9, np.uint8)
    return replace(frame, rgb=rgb, labels=rgb[..., 0], depth=rgb[..., 0].astype(np.float16))


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--video", "a", "--camera", "0"]])
def test_invalid_options_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
