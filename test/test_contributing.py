# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""CONTRIBUTING.md leads to files that exist; versions, citation and workflows agree with it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import thfm_ros


def rows(root: Path) -> dict[str, list[Path]]:
    """Question of the table "I want to change ..." -> the paths of its row."""
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    table = text.split("| I want to change ... |", 1)[1].split("\n\n", 1)[0]
    found = {}
    for line in table.splitlines()[2:]:
        question, files, tests = (cell.strip() for cell in line.strip("|").split("|"))
        found[question] = [root / path for path in re.findall(r"`([^`]+)`", f"{files} {tests}")]
    return found


def test_the_table_answers_at_least_fifteen_questions_with_files_that_exist(root: Path) -> None:
    table = rows(root)
    assert len(table) >= 15
    for question, paths in table.items():
        assert len(paths) >= 2, f"{question}: a file and its tests"
        missing = [path.relative_to(root).as_posix() for path in paths if not path.exists()]
        assert missing == [], question


@pytest.mark.parametrize(
    ("question", "folder", "word"),
    [
        ("tracked", "perception", "track"),
        ("searched for people", "perception", "person_search"),
        ("QoS of the camera", "ros", "subscription"),
        ("loss of the surface normals", "training", "loss"),
        ("kinematics", "posture", "kinematics"),
        ("cache of TensorRT", "engine", "cache"),
        ("VAE of the full-size", "genception", "vae"),
        ("lighting", "shading", "light"),
        ("metric of jitter", "evaluation", "jitter"),
        ("panels of the demo", "demo", "panels"),
    ],
)
def test_a_folder_and_a_file_name_tell_where_it_is(
    root: Path, question: str, folder: str, word: str
) -> None:
    (paths,) = [paths for text, paths in rows(root).items() if question in text]
    assert paths[0].parent.name == folder
    assert word in paths[0].stem


def test_every_folder_of_the_package_is_in_the_table(root: Path) -> None:
    named = {
        path.relative_to(root / "thfm_ros").parts[0]
        for paths in rows(root).values()
        for path in paths
        if path.is_relative_to(root / "thfm_ros")
    }
    folders = {path.parent.name for path in (root / "thfm_ros").glob("*/__init__.py")}
    assert folders - {"msg", "srv"} <= named


def test_the_same_version_is_ready_to_be_tagged_everywhere(root: Path) -> None:
    version = thfm_ros.__version__
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version
    assert citation["authors"] == [{"name": "thfm_ros developers"}]
    assert ElementTree.parse(root / "package.xml").getroot().findtext("version") == version
    newest = re.search(r"^## \[?([\d.]+)\]?", (root / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert newest is not None and newest[1] == version


def test_the_changelog_keeps_the_form(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    assert text.startswith("# Changelog\n") and "keepachangelog.com" in text
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds


def test_the_workflow_runs_every_python_and_two_distributions(root: Path) -> None:
    text = (root / ".github" / "workflows" / "test.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    declared = (root / "pyproject.toml").read_text("utf-8")
    assert 'requires-python = ">=3.10"' in declared
    assert jobs["wheels"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert jobs["apt"]["strategy"]["matrix"]["distribution"] == ["jazzy", "kilted"]
    deselected = re.findall(r"--deselect (\S+)::(\w+)", text)
    assert deselected
    for file, name in deselected:
        assert f"def {name}(" in (root / file).read_text("utf-8")


def test_hooks_before_a_commit_are_those_of_the_documents(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text("utf-8"))
    hooks = [hook["id"] for repository in config["repos"] for hook in repository["hooks"]]
    assert hooks == ["ruff-check", "ruff-format", "codespell"]


def test_types_are_shipped_with_the_package(root: Path) -> None:
    assert (root / "thfm_ros" / "py.typed").is_file()
    assert (Path(thfm_ros.__file__).parent / "py.typed").is_file()
    assert "install(DIRECTORY ${PROJECT_NAME}/" in (root / "CMakeLists.txt").read_text("utf-8")
