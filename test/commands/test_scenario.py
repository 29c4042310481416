# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm scenario`: exit codes, reports, and shipped scenarios with the shipped network."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, image

from thfm_ros.commands import scenario
from thfm_ros.commands.main import main
from thfm_ros.config import Config
from thfm_ros.evaluation.scenario.reader import shipped_scenarios
from thfm_ros.media.video import Video
from thfm_ros.pipeline import PerceptionPipeline

K = camera(160, 120, 150.0)
PERSON = Person(0.1, 0.05, 3)

SITE = """\
film: film
fps: 10
hfov_deg: 56
zones: {person: [40, 0, 120, 120], left: [0, 0, 30, 120]}
people: {guest: [{from_s: 0, until_s: 9, box: [70, 16, 107, 111], distance_m: 3}]}
conditions:
  - empty: left
  - occupied: person
    pass_rate: 0.6
  - max_ids: 1
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario file with a film of five images; the engine knows where the person is."""

    def pipeline(config: Config) -> PerceptionPipeline:
        return PerceptionPipeline(FakeEngine(K, lambda: [PERSON]), config)

    monkeypatch.setattr(scenario, "load_pipeline", pipeline)
    (tmp_path / "film").mkdir()
    for index in range(5):
        assert cv2.imwrite(str(tmp_path / "film" / f"{index}.png"), image(K)[..., ::-1])
    path = tmp_path / "site.yaml"
    path.write_text(SITE, "utf-8")
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_exit_code_0_if_all_conditions_pass(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", str(site)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "site: PASS (5 frames)" and len(lines) == 4
    assert lines[1].strip() == "pass            empty left: 100.0 % of 5 frames (at least 100 %)"


def test_exit_code_1_if_one_fails(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(site, "empty: left", "empty: person")
    assert main(["scenario", str(site)]) == 1
    output = capsys.readouterr().out
    assert "site: FAIL" in output and "fail            empty person: " in output


def test_a_known_failure_is_printed_and_an_unexpected_pass_fails(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(site, "empty: left", "empty: person\n    known_failure: a statue")
    assert main(["scenario", str(site)]) == 0
    assert "[known failure: a statue]" in capsys.readouterr().out
    change(site, "empty: person", "empty: left")
    assert main(["scenario", str(site)]) == 1
    assert "unexpected pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("fps: 10", "fsp: 10", "did you mean 'fps'"),
        ("hfov_deg: 56", "parameters: {decode.min_scor: 1}", "decode.min_scor"),
        ("hfov_deg: 56", f"parameters: {{decode.min_score: 1{'0' * 400}}}", "parameters"),
        ("[0, 0, 30, 120]", "[500, 0, 530, 120]", "zones.left lies outside of the image"),
        ("empty: left", "empty: left\n    from_s: 60", "looks at no frame"),
    ],
)
def test_exit_code_2_and_one_line_if_it_cannot_be_run(
    site: Path, caplog: pytest.LogCaptureFixture, old: str, new: str, words: str
) -> None:
    change(site, old, new)
    assert main(["scenario", str(site)]) == 2
    assert words in caplog.records[-1].getMessage()
    assert "\n" not in caplog.records[-1].getMessage()


def test_exit_code_2_if_the_film_is_damaged(
    site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film" * 100)
    change(site, "film: film\nfps: 10", "film: film.mp4")
    assert main(["scenario", str(site)]) == 2
    assert "film.mp4" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("arguments", [[], ["nowhere.yaml"], ["street", "--json", "no/o.json"]])
def test_exit_code_2_without_a_file_or_a_place_for_the_result(arguments: list[str]) -> None:
    assert main(["scenario", *arguments]) == 2


def test_results_are_written_as_json_and_as_a_video(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    change(site, "- max_ids: 1", "- max_ids: 1\n  - distance: guest\n    pass_rate: 0.6")
    assert main(["scenario", str(site), "--json", str(out), "--overlay", str(tmp_path)]) == 0
    (result,) = json.loads(out.read_text("utf-8"))["scenarios"]
    assert result["name"] == "site" and result["passed"] and result["frames"] == 5
    assert [each["verdict"] for each in result["conditions"]] == ["pass"] * 4
    assert result["conditions"][0]["measured"] == 1.0
    frames = [frame.rgb for frame in Video(tmp_path / "site.mp4")]
    assert len(frames) == 5 and frames[0].shape == (120, 160, 3)
    green = np.array(frames[-1], int)[..., 1] - np.array(frames[-1], int)[..., 2]
    assert green[60, 28:33].max() > 60  # the edge of the zone, which is as expected


def test_the_table_is_written_between_the_markers_of_a_page(site: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- scenarios: begin -->\nold\n<!-- scenarios: end -->\nB\n", "utf-8")
    assert main(["scenario", str(site), "--page", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "| site | empty left | 100.0 % of 5 frames (at least 100 %) | pass |" in text
    assert "old" not in text and text.endswith("B\n")


def test_the_list_names_all_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "--list"]) == 0
    output = capsys.readouterr().out
    assert all(path.stem in output for path in shipped_scenarios())


_listening = False
_connections: list[str] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event in ("socket.getaddrinfo", "socket.connect", "socket.sendto"):
        _connections.append(f"{event} {arguments}")


def test_a_shipped_scenario_passes_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped network; Python's audit events see what compiled libraries do not hide.

    That all of them pass is checked by ./test.sh.
    """
    sys.addaudithook(_audit)  # cannot be removed
    monkeypatch.setattr(sys.modules[__name__], "_listening", True)
    assert main(["scenario", "one_person_walking", "--set", "engine.threads=1"]) == 0
    assert _connections == []


@pytest.mark.slow
def test_all_shipped_scenarios_pass() -> None:
    assert main(["scenario", "--all"]) == 0
