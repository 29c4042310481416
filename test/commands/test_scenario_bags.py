# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm scenario` on a rosbag."""

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, image
from small_bags import PERIOD_NS, START_NS, Message, a_camera_info, an_image, write_bag

from thfm_ros.commands import scenario
from thfm_ros.commands.main import main
from thfm_ros.config import Config
from thfm_ros.pipeline import PerceptionPipeline

K = camera(160, 120, 150.0)
SITE = """\
film: bag
people: {guest: [{from_s: 0, until_s: 9, box: [70, 16, 107, 111], distance_m: 3}]}
conditions:
  - distance: guest
    pass_rate: 0.6
  - max_ids: 1
"""
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))


def images(topic: str = "/camera/image_raw", count: int = 5) -> list[Message]:
    pixels = np.ascontiguousarray(image(K))
    times = [START_NS + number * PERIOD_NS for number in range(count)]
    return [(topic, time, an_image(pixels, time)) for time in times]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario file; the engine knows where the person is."""

    def pipeline(config: Config) -> PerceptionPipeline:
        return PerceptionPipeline(FakeEngine(K, lambda: [Person(0.1, 0.05, 3)]), config)

    monkeypatch.setattr(scenario, "load_pipeline", pipeline)
    path = tmp_path / "site.yaml"
    path.write_text(SITE, "utf-8")
    return path


def test_a_bag_is_run_with_its_own_times_and_calibration(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bag", [INFO, *images()])
    assert main(["scenario", str(site), "--overlay", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "site: PASS (5 frames)" and "distance guest: 100.0 %" in lines[1]
    assert (tmp_path / "out" / "site.mp4").stat().st_size


def test_a_field_of_view_replaces_the_calibration_of_a_bag(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bag", [INFO, *images()])
    site.write_text(SITE.replace("film: bag", "film: bag\nhfov_deg: 90"), "utf-8")
    assert main(["scenario", str(site)]) == 1  # with which people are nearer
    assert "fail            distance guest: 0.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("messages", "change", "words"),
    [
        (images(), "film: bag", "needs hfov_deg of the camera, since the bag has no calibration"),
        ([*images(), *images("/rear/image_raw")], "film: bag", "topic: is missing; the bag has"),
        (images(), "film: bag\ntopic: /rear/image_raw", "topic: there is no /rear/image_raw"),
        ([INFO], "film: bag", "no images"),
        (images(), "film: bag\nfps: 10", "a bag has its own times"),
        (images(), "film: site.yaml\ntopic: /camera", "only a bag has topics"),
    ],
)
def test_a_bag_that_cannot_be_run_is_named_with_the_reason(
    site: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    messages: list[Message],
    change: str,
    words: str,
) -> None:
    write_bag(tmp_path / "bag", messages)
    site.write_text(SITE.replace("film: bag", change), "utf-8")
    assert main(["scenario", str(site)]) == 2
    assert words in caplog.records[-1].getMessage()


def test_one_camera_of_several_in_a_bag_is_chosen_by_its_topic(site: Path, tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", [INFO, *images(), *images("/rear/image_raw", 3)])
    site.write_text(SITE.replace("film: bag", "film: bag\ntopic: /camera/image_raw"), "utf-8")
    assert main(["scenario", str(site)]) == 0
