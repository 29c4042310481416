"""Tables: each figure beside its baseline, written between markers only."""

import argparse
import math
from pathlib import Path

import pytest

from thfm_ros.commands import evaluate
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.markdown_report import (
    Column,
    Line,
    breakdown,
    check_page,
    digest_of,
    table,
    write_section,
)


def test_a_figure_stands_beside_its_baseline_and_its_marks() -> None:
    line = Line("mask IoU", "iou", 3, "0.86", "0.92", "iou_box", "the box")
    text = table({"iou": 0.5, "iou_box": 0.25}, [line])
    assert text.splitlines()[-1] == "| mask IoU | 0.500 | 0.250 (the box) | 0.86 | 0.92 |"


def test_what_was_not_measured_says_so_and_what_is_missing_is_an_error() -> None:
    line = Line("jitter", "jitter", 2, factor=100)
    assert "| jitter | not measured |" in table({"jitter": math.nan}, [line])
    assert "| jitter | 2.00 |" in table({"jitter": 0.02}, [line])
    with pytest.raises(KeyError):
        table({}, [line])


def test_a_breakdown_has_a_row_for_each_name() -> None:
    columns = [Column("PCK", "pck_{}", 2, "mean_{}"), Column("IoU", "iou_{}", 1)]
    text = breakdown({"pck_head": 0.5, "mean_head": 0.1, "pck_feet": 0}, "limb", ["head", "feet"],
                     columns)  # fmt: skip
    assert text.splitlines()[2:] == [
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


def test_the_model_card_takes_every_section(root: Path) -> None:
    images = [f"images of {folder}" for folder in ("walkers", "squats", "dancer")]
    check_page(root / "docs" / "model_card.md", ["crops", "clips", "frames", *images])


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(words)


def test_the_page_names_the_command_but_no_folder_of_one_machine(tmp_path: Path) -> None:
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
    with pytest.raises(PerceptionError, match="no checkpoint"):
        evaluate.run(parsed("--data", "x", "--checkpoint", "missing.safetensors"))


def test_the_digest_is_the_files_own(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert digest_of(file) == "ba7816bf8f01cfea"
