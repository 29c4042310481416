# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The table of how metric a scene's depth becomes by the people in it."""

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine
from still_frames import LEFT, RIGHT, K, write_frames

from thfm_ros.config import Config, config_from
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation import scene_depth
from thfm_ros.evaluation.scene_depth import SATURATION, distorted, main
from thfm_ros.pipeline import PerceptionPipeline


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(config: Config) -> PerceptionPipeline:
        return PerceptionPipeline(FakeEngine(K, lambda: [LEFT, RIGHT]), config_from({}))

    monkeypatch.setattr(scene_depth, "load_pipeline", load)


@pytest.mark.usefixtures("perfect")
def test_people_at_known_distances_give_the_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "frames", [LEFT, RIGHT])
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scene depth: begin -->\n<!-- scene depth: end -->\nafter\n")
    assert main(["--data", str(tmp_path / "frames"), "--page", str(page)]) == 0
    text = capsys.readouterr().out
    assert "3 frames of 1 clips" in text and text.strip() in page.read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")][1:]
    true, found = ([cell.strip() for cell in row] for row in rows[:2])
    assert true[1] == found[1] == "3 of 3"
    assert float(true[2]) < 0.05 and float(found[4]) <= float(found[5]) + 0.05
    assert true[3] == "not measured", "the background has no depth"


@pytest.mark.usefixtures("perfect")
def test_frames_without_people_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [])
    with pytest.raises(PerceptionError, match="shows a person"):
        main(["--data", str(tmp_path / "frames")])


def test_the_distortions_are_as_documented() -> None:
    truth = np.linspace(1, 60, 64 * 48).reshape(48, 64)
    truth[0] = 0
    relative = distorted(truth, np.random.default_rng(0))
    assert np.isnan(relative[0]).all() and np.nanmax(relative) <= SATURATION
    ratio = np.log(relative[1:] / truth[1:])
    assert 0.01 < np.median(np.abs(ratio - np.median(ratio))) < 0.05
    assert 0.002 < (np.abs(ratio - np.median(ratio)) > 0.3).mean() < 0.02
