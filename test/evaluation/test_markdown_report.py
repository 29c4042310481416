# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tables: each metric beside its baseline, written between markers only."""

import argparse
import math
from pathlib import Path

import pytest

from thfm_ros.commands import evaluate
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.markdown_report import (
    Row,
    cell,
    check_page,
    group_table,
    markers,
    metric_table,
    write_section,
)
from thfm_ros.metrics.score import Score


def test_a_metric_stands_beside_its_baseline_threshold_and_target() -> None:
    row = Row("mask IoU", Score(0.5, 0.25), 3, "the box", "0.86", "0.92")
    text = metric_table([row])
    assert text.splitlines()[-1] == "| mask IoU | 0.500 | 0.250 (the box) | 0.86 | 0.92 |"


def test_what_was_not_measured_says_so() -> None:
    assert "| jitter | not measured |" in metric_table([Row("jitter", Score(math.nan), 2)])
    assert "| jitter | 2.00 |" in metric_table([Row("jitter", Score(0.02), 2, factor=100)])


def test_a_group_table_has_a_row_for_each_group() -> None:
    rows = [["head", cell(Score(0.5, 0.1), 2), cell(None, 1)], ["feet", cell(Score(0), 2), "-"]]
    assert group_table(["joint group", "PCK", "IoU"], rows).splitlines() == [
        "| joint group | PCK | IoU |",
        "|---|---|---|",
        "| head | 0.50 (0.10) | - |",
        "| feet | 0.00 (not measured) | - |",
    ]


def test_a_section_replaces_only_what_is_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    other = "<!-- clips: begin -->\nkept\n<!-- clips: end -->"
    page.write_text(f"above\n<!-- crops: begin -->\nold\n<!-- crops: end -->\n{other}\nbelow\n")
    write_section(page, "crops", "new")
    assert page.read_text() == (
        f"above\n<!-- crops: begin -->\nnew\n<!-- crops: end -->\n{other}\nbelow\n"
    )


def test_a_page_without_markers_is_refused_and_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    with pytest.raises(PerceptionError, match="frames: begin"):
        write_section(page, "frames", "new")
    with pytest.raises(PerceptionError, match="no page"):
        check_page(tmp_path / "none.md", [])
    assert page.read_text() == "nothing here"


def test_the_documentation_has_one_place_for_every_section(root: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (root / "docs").rglob("*.md")]
    images = [f"images of {folder}" for folder in ("pedestrians", "squats", "dancer")]
    for section in ("crops", "clips", "frames", *images):
        begin, end = markers(section)
        assert [page.count(begin) for page in pages if begin in page] == [1], section
        assert [page.count(end) for page in pages if end in page] == [1], section


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(words)


def test_the_page_names_the_command_but_no_absolute_path(tmp_path: Path) -> None:
    given = parsed("--data", str(tmp_path / "data"), "--crops", "5", "--set", "engine.kind=torch")
    assert evaluate.command_of(given) == (
        "thfm evaluate --data data --crops 5 --set engine.kind=torch"
    )
    assert evaluate.command_of(parsed("--images", "my images")) == (
        "thfm evaluate --images 'my images'"
    )


def test_without_data_and_images_the_command_says_what_to_give() -> None:
    with pytest.raises(PerceptionError, match="--data DIR"):
        evaluate.run(parsed())
    with pytest.raises(PerceptionError, match="neither a checkpoint that ships"):
        evaluate.run(parsed("--data", "x", "--checkpoint", "missing.safetensors"))
