# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The field's own words: retired private terms are refused in names, texts and parameters.

Names are split into words (``snake_case`` and ``CamelCase``), so ``min_joint_belief`` is found by
its last word. Comments, docstrings, string literals and documents are searched for whole words.
A word that is ordinary English in a sentence ("held", "look") is refused in names only.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from thfm_ros.config import parameters

EVERYWHERE = {
    "anybody": "person, track or detection",
    "attitude": "body orientation",
    "belief": "confidence",
    "crumb": "fragment",
    "errand": "background task",
    "everybody": "all people, tracks or users",
    "hurry": "request_detection",
    "newcomer": "new detection",
    "nobody": "background, no person, negative crop, no subscriber",
    "picture": "image",
    "relief": "root-relative depth",
    "sighting": "detection",
    "somebody": "person, track or detection",
    "twin": "flip pair of joints; counterpart otherwise",
}
"""Retired word -> what to use, in names as well as in texts; a plural "s" is understood."""

IN_NAMES = {
    "believed": "confidence, trusted",
    "calm": "clean, steady",
    "denied": "rejected_proposals",
    "ease": "augmentation_ramp",
    "exchanged": "left-right swap: swapped",
    "held": "kept, static_clip_share",
    "judged": "matched, ImageMatches",
    "look": "detection pass, crop, search",
    "looked": "detection pass, crop, searched",
    "mistake": "hard negative, false positive",
    "mistaken": "hard negative, false positive",
    "said": "predicted, output, result",
    "steadiness": "temporal_stability",
    "stray": "jitter",
    "thought": "joint_features",
    "trivial": "baseline",
}
"""Refused as a word of a name; ordinary English in a sentence."""

AS_NAMES = {
    "averaging": "ema_decay",
    "beside": "run_async",
    "joint_hold": "temporal_prior_weight",
    "sheets": "array_pool",
    "Sheets": "ArrayPool",
    "who": "person, track or detection",
    "whom": "person, track or detection",
}
"""Refused as a whole name, leading underscores aside."""

IN_FOLDERS: Mapping[str, Mapping[str, str]] = {
    "thfm_ros/model": {"asked": "queries", "bend": "modulation"},
    "thfm_ros/perception": {
        "apart": "normalized_center_distance",
        "covered": "intersection_over_min_area",
        "cut": "crop_image",
        "hold": "temporal_prior_weight",
        "remembered": "temporal_prior",
    },
    "thfm_ros/evaluation": {
        "counts": "ignore (inverted)",
        "judge": "match_detections",
        "wrong": "false_positives",
    },
    "thfm_ros/training": {"judge": "reference_loader"},
}
"""Refused as a whole name below that folder, where the field has a word of its own."""

PARAMETERS = {
    "decode.joint_hold": "decode.temporal_prior_weight",
    "decode.min_joint_belief": "decode.min_keypoint_confidence",
    "regions.beside": "regions.run_async",
    "regions.parts": "regions.tiles",
}
"""Retired ROS parameters, refused wherever they are written."""

VAGUE = ("the same", "so long", "so much", "look", "looks", "looked at", "believed", "this times")
"""Refused in a parameter's text, which `ros2 param describe` prints without its neighbours."""

ALLOWED = {
    ("thfm_ros/model/heads.py", "look"): "name of a tensor in released weights",
    ("*", "held_out"): "held-out data is the field's term",
    ("*", "heldout"): "held-out data is the field's term",
    ("*", "hand_held"): "a hand-held camera, a thing in a hand",
    ("*", "look_at"): "the camera matrix of computer graphics",
}
"""(file or *, name) that may stay, and why."""

FORMER_OPTIONS = {"--pictures": "scripts outside of this repository call `thfm evaluate` with it"}
"""Option of the command line that may stay, and why."""

FOLDERS = ("thfm_ros", "test", "examples", "scripts", "launch", "config", "docs", "msg", "srv")
FILES = (
    *("README.md", "CONTRIBUTING.md", "CMakeLists.txt", "package.xml", "pyproject.toml"),
    *("setup.py", "demo.sh", "test.sh", "requirements-ros.txt", "mkdocs.yml"),
)
SUFFIXES = {".py", ".md", ".msg", ".srv", ".yaml", ".yml", ".toml", ".txt", ".xml", ".sh", ""}
# This file lists the words; the changelog says what was renamed to what.
EXEMPT = {"test/test_terminology.py", "CHANGELOG.md"}

TOKEN = re.compile(
    r'(?P<text>[rbfuRBFU]{0,2}(?:"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"'
    r"|'''(?:\\.|[^\\])*?'''|'(?:\\.|[^'\\\n])*')|#[^\n]*)|(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
RETIRED = re.compile(
    rf"(?<![A-Za-z])(?P<word>{'|'.join(EVERYWHERE)})s?(?![A-Za-z])"
    rf"|(?<![\w.])(?P<parameter>{'|'.join(map(re.escape, PARAMETERS))})(?!\w)",
    re.IGNORECASE,
)


class Finding(NamedTuple):
    """A retired word in one place."""

    file: str
    line: int
    word: str
    use: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word!r}: use {self.use}"


def in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Offset, retired word and what to use, for what is refused everywhere."""
    for match in RETIRED.finditer(text):
        if text[max(0, match.start() - 2) : match.end()] in FORMER_OPTIONS:
            continue
        if match["word"]:
            yield match.start(), match[0], EVERYWHERE[match["word"].lower()]
        else:
            yield match.start(), match[0], PARAMETERS[match["parameter"].lower()]


def in_name(name: str, file: str) -> str | None:
    """What to use in the place of a name or of a word in it; None if it may stay."""
    if (file, name) in ALLOWED:
        return None
    bare = name.strip("_")
    if bare in AS_NAMES:
        return AS_NAMES[bare]
    for folder, names in IN_FOLDERS.items():
        if bare in names and file.startswith(folder + "/"):
            return names[bare]
    for anywhere, allowed in ALLOWED:
        if anywhere == "*":
            bare = bare.replace(allowed, "")
    for word in WORD.findall(bare):
        for form in (word.lower(), word.lower().removesuffix("s")):
            if use := EVERYWHERE.get(form) or IN_NAMES.get(form):
                return use
    return None


def in_python(text: str, file: str) -> Iterator[tuple[int, str, str]]:
    """The same for Python: names by their words; comments and strings as texts."""
    verdicts: dict[str, str | None] = {}
    for match in TOKEN.finditer(text):
        if match["name"]:
            name = match["name"]
            if name not in verdicts:
                verdicts[name] = in_name(name, file)
            if use := verdicts[name]:
                yield match.start(), name, use
        else:
            for offset, word, use in in_text(match[0]):
                yield match.start() + offset, word, use


def retired_in(text: str, file: str) -> list[Finding]:
    """All retired words of one file, given by its path from the root."""
    is_python = file.endswith(".py") or text.startswith("#!/usr/bin/env python")
    found = in_python(text, file) if is_python else in_text(text)
    return [
        Finding(file, text.count("\n", 0, offset) + 1, word, use) for offset, word, use in found
    ]


def searched(root: Path) -> list[Path]:
    """The files whose words are looked over."""
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    paths += [root / name for name in FILES if (root / name).is_file()]
    return sorted(
        path
        for path in paths
        if path.suffix in SUFFIXES
        and "__pycache__" not in path.parts
        and path.relative_to(root).as_posix() not in EXEMPT
    )


def test_no_retired_word_is_left(root: Path) -> None:
    found = [
        finding
        for path in searched(root)
        for finding in retired_in(path.read_text("utf-8"), path.relative_to(root).as_posix())
    ]
    assert not found, f"{len(found)} retired words:\n" + "\n".join(map(str, found))


def test_the_text_of_a_parameter_stands_alone(root: Path) -> None:
    texts = {parameter.name: parameter.doc for parameter in parameters()}
    for path in sorted((root / "launch").glob("*.py")):
        # Name of an argument: its default and its description.
        argument = re.findall(r'"(\w+)": \("[^"]*", "([^"]*)"\)', path.read_text("utf-8"))
        assert argument, f"{path} declares no argument in this form any more"
        texts |= {f"{path.name}: {name}": text for name, text in argument}
    vague = re.compile(rf"\b({'|'.join(VAGUE)})\b", re.IGNORECASE)
    found = {name: match[0] for name, text in texts.items() if (match := vague.search(text))}
    assert found == {}, "say what it is, without reference to other parameters"


def test_no_parameter_has_a_retired_name() -> None:
    names = {parameter.name: parameter.field for parameter in parameters()}
    assert not set(names) & set(PARAMETERS)
    assert {name for name, field in names.items() if in_name(field, "thfm_ros/config.py")} == set()


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("x = 1\ndef find_newcomers(): ...\n", 2, "find_newcomers"),
        ("class PictureStore: ...\n", 1, "PictureStore"),
        ("NOBODY_ID = 0\n", 1, "NOBODY_ID"),
        ("x = a._look(b)\n", 1, "_look"),
        ("def f(*, beside: bool): ...\n", 1, "beside"),
        ('"""A module.\n\nIt waits for nobody\'s result.\n"""\n', 3, "nobody"),
        ("x = 1  # the relief of a person\n", 1, "relief"),
        ("log.info(f'{n} pictures')\n", 1, "pictures"),
        ("x = {'relief_rmse': 1.0}\n", 1, "relief"),
    ],
)
def test_a_planted_word_is_found_in_python(text: str, line: int, word: str) -> None:
    (finding,) = retired_in(text, "thfm_ros/planted.py")
    assert (finding.file, finding.line, finding.word) == ("thfm_ros/planted.py", line, word)
    assert str(finding).endswith(f"use {finding.use}") and finding.use


def test_a_planted_word_is_found_in_messages_and_documents() -> None:
    (finding,) = retired_in("uint8 id  # 0 nobody\n", "msg/Planted.msg")
    assert (finding.line, finding.word) == (1, "nobody")
    (finding,) = retired_in("Set\n`regions.beside: false`.\n", "docs/planted.md")
    assert (finding.line, finding.word, finding.use) == (2, "regions.beside", "regions.run_async")


def test_a_word_of_one_folder_is_refused_there_only() -> None:
    assert retired_in("def cut(image): ...\n", "thfm_ros/perception/planted.py")
    assert not retired_in("def cut(cloth): ...\n", "thfm_ros/synth/planted.py")


@pytest.mark.parametrize(
    "text",
    [
        "held_out = load()\n",
        "# what is held back looks like this, said the thought\n",
        "outlook = releases = pictorial = 1\n",
        "def weight_averaging(): ...\n",
    ],
)
def test_ordinary_words_are_no_findings(text: str) -> None:
    assert retired_in(text, "thfm_ros/planted.py") == []
