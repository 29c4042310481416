# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What mkdocs.yml cannot say: pages from files outside docs/, and whole folders in the navigation.

mkdocs calls these functions by their names (see mkdocs.yml, ``hooks``).
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "QUALITY_DECLARATION.md": "quality_declaration.md",
    "SECURITY.md": "security.md",
    "PRIVACY.md": "privacy.md",
}
"""File in the root of the repository -> page of the site."""

LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s#:]*)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each entry of the navigation that names a folder by the pages in it."""
    config.nav = [_expanded(entry, Path(config.docs_dir)) for entry in config.nav or []]
    return config


def _expanded(entry: Any, docs: Path) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, target),) = entry.items()
    if not str(target).endswith("/"):
        return entry
    pages = sorted((docs / target).rglob("*.md"), key=_index_first)
    return {title: [page.relative_to(docs).as_posix() for page in pages]}


def _index_first(page: Path) -> tuple[bool, str]:
    return page.stem.lower() not in {"readme", "index"}, page.as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose sources lie outside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between files of the repository lead to pages of the site.

    A link to a file that is no part of the site, such as a launch file, becomes plain text.
    """
    uri = page.file.src_uri
    sources = {target: source for source, target in PAGES.items()}
    here = posixpath.dirname(sources.get(uri, f"docs/{uri}"))

    def rewritten(link: re.Match[str]) -> str:
        if not link["target"]:
            return link[0]
        wanted = posixpath.normpath(posixpath.join(here, link["target"]))
        if not (ROOT / wanted).exists():
            return link[0]  # mkdocs names the page and the link
        inside = PAGES.get(wanted, wanted.removeprefix("docs/"))
        if wanted not in PAGES and not wanted.startswith("docs/"):
            return link["text"].strip("![]")
        target = posixpath.relpath(inside, posixpath.dirname(uri) or ".")
        return f"{link['text']}({target}{link['anchor'] or ''})"

    return LINK.sub(rewritten, markdown)
