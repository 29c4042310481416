# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The documentation: links lead somewhere, pages stay short, tables have their marker lines."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

LONGEST = 250
"""Lines of a page. The tables of docs/results/ are written by `thfm evaluate` and may be longer."""

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")


def links(page: Path) -> list[str]:
    """Targets of all links and images, without those in code and those into the web."""
    found = LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> Iterator[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        yield re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    assert broken(ROOT / name) == []


def test_every_page_is_linked_from_another_one() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in links(page)
        if target.partition("#")[0]
    }
    unlinked = [page for page in DOCS.rglob("*.md") if page not in linked]
    assert unlinked == []


def test_pages_are_short() -> None:
    lengths = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in NAMES
        if name.startswith("docs/") and not name.startswith("docs/results/")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
    assert lengths["docs/model_card.md"] <= 120, "the model card is one page"


def test_checkpoints_are_listed_with_their_columns() -> None:
    with (DOCS / "experiments" / "checkpoints.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("date", "sha256 prefix", "steps", "recipe stage", "parameters"),
        *("mask_iou", "pck10", "notes"),
    ]
    for row in rows:
        assert None not in row and re.fullmatch(r"[0-9a-f]{16}", row["sha256 prefix"])
    dates = [row["date"] for row in rows]
    assert dates == sorted(dates, reverse=True), "newest first"


def test_links_and_anchors_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title: `x`\n[a](#a-title-x) [b](#no) [c](no.md) [d](https://e.org/f)\n")
    assert broken(page) == ["#no", "no.md"]
