"""The table of figures: each beside its baseline, written between markers only."""

from pathlib import Path

import pytest
from painted_store import write_data

from thfm_ros.evaluate import BEGIN, END, LINES, table, write_table
from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.batches import held_out
from thfm_ros.training.scoring import baselines, score


def test_every_line_of_the_table_is_measured(tmp_path: Path) -> None:
    batches = held_out(write_data(tmp_path), 32, 4)
    scores = {**score(NanoNetwork(), batches), **baselines(batches)}
    text = table(scores)
    assert len(text.splitlines()) == len(LINES) + 2
    assert f"| mask IoU | {scores['mask_iou']:.3f} |" in text


def test_a_painted_rectangle_is_its_own_box(tmp_path: Path) -> None:
    found = baselines(held_out(write_data(tmp_path), 64, 4))
    assert found["mask_iou_box"] == pytest.approx(1.0)
    assert found["part_miou_torso"] == 0.0  # the painted parts are arms


def test_the_table_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    write_table(page, "new")
    assert page.read_text() == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="table: begin"):
        write_table(page, "new")
    assert page.read_text() == "nothing here"
