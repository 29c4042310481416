# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The documentation: the site builds without a warning, and what pages name exists."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from thfm_ros.config import parameters

PACKAGE_PARTS = re.compile(r"\bthfm_ros(?:\.[a-z_][a-z0-9_]*)+\b")
CODE = re.compile(r"`([^`\n]+)`")
# A path: at least one folder and a suffix that files of this repository have.
REPOSITORY_PATH = re.compile(
    r"(?:[\w.-]+/)+[\w.-]+\.(?:py|md|sh|yaml|yml|xml|msg|srv|rviz|toml|csv)"
)
# Paths of the user's own files or of other projects in examples.
FOREIGN = ("out/", "data/", "run/", "install/", "DIR/", "/", "~", "src/", "build/")


# A command of this package with its options, to the end of the line or of the code span.
COMMAND = re.compile(r"(?:thfm(?:-\w+)* |python\S* -m thfm_ros\.|python\S* examples/)[^`#|\n]*")
OPTION = re.compile(r"(?<=\s)--[a-z][a-z0-9-]*")


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of links, images, scripts and styles."""
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of mkdocs is an error."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages(root: Path) -> list[Path]:
    names = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "PRIVACY.md", "examples/README.md")
    return [*(root / name for name in names), *sorted((root / "docs").rglob("*.md"))]


def test_every_document_is_a_page_of_the_site(root: Path, site: Path) -> None:
    for document in sorted((root / "docs").rglob("*.md")):
        page = document.relative_to(root / "docs").with_suffix(".html")
        page = page.with_name("index.html") if page.stem == "README" else page
        assert (site / page).is_file(), document
    for name in ("index", "contributing", "changelog", "security", "privacy"):
        assert "<h1" in (site / f"{name}.html").read_text("utf-8")


def test_no_link_of_the_site_is_dead_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # its links are absolute
            continue
        links = Links()
        links.feed(page.read_text("utf-8"))
        for target in links.found:
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                assert not re.match(r"https?:.*\.(js|css|woff2?)$", target), (page, target)
                continue
            path = unquote(target.partition("#")[0].partition("?")[0])
            assert (page.parent / path).exists(), f"{page.relative_to(site)} links to {target}"


def test_tables_and_code_of_the_readme_are_rendered(site: Path) -> None:
    home = (site / "index.html").read_text("utf-8")
    assert home.count("<table>") >= 2
    assert 'src="images/demo.jpg"' in home
    assert "highlight" in home


def test_files_that_documents_name_exist(root: Path) -> None:
    folders = (
        "thfm_ros",
        "test",
        "docs",
        "config",
        "launch",
        "scripts",
        "examples",
        "runs",
        ".github",
    )
    files = [file for folder in folders for file in (root / folder).rglob("*") if file.is_file()]
    # A page may leave out the first folders, as in "below thfm_ros/synth: `motion/strides.py`".
    ends = [f"/{file.relative_to(root).as_posix()}" for file in files]
    missing = []
    for page in pages(root):
        for code in CODE.findall(page.read_text("utf-8")):
            for path in REPOSITORY_PATH.findall(code):
                ours = not path.startswith(FOREIGN) and code.strip("./").startswith(path)
                if ours and not any(end.endswith(f"/{path}") for end in ends):
                    missing.append(f"{page.relative_to(root)}: {path}")
    assert not missing, "\n".join(missing)


def test_modules_that_documents_name_exist(root: Path) -> None:
    missing = []
    for page in pages(root):
        for name in PACKAGE_PARTS.findall(page.read_text("utf-8")):
            parts = name.split(".")
            # The last part may be a name inside the module.
            found = [
                *(root.joinpath(*parts[:n]).with_suffix(".py") for n in (len(parts), -1)),
                *(root.joinpath(*parts[:n]) / "__init__.py" for n in (len(parts), -1)),
            ]
            if parts[1] not in {"msg", "srv"} and not any(path.is_file() for path in found):
                missing.append(f"{page.relative_to(root)}: {name}")
    assert not missing, "\n".join(missing)


def test_options_that_documents_name_exist(root: Path) -> None:
    sources = [*(root / "thfm_ros").rglob("*.py"), *(root / "examples").glob("*.py")]
    known = {"--help", "--ros-args", "--version"}
    known |= {f"--{each.field.replace('_', '-')}" for each in parameters()}  # thfm engine
    for source in sources:
        known |= set(re.findall(r'"(--[a-z][a-z0-9-]*)"', source.read_text("utf-8")))
    missing = []
    for page in pages(root):
        text = page.read_text("utf-8").replace("\\\n", " ")
        for command in COMMAND.findall(text):
            unknown = set(OPTION.findall(command)) - known
            missing += [f"{page.relative_to(root)}: {option}" for option in sorted(unknown)]
    assert not missing, "\n".join(missing)
