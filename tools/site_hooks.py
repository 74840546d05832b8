"""What mkdocs is told beside mkdocs.yml.

A folder in the navigation stands for its pages, by name. A page that would load anything from another host
ends the build.
"""
# ruff: noqa: INP001  a script, not a package

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_ELSEWHERE = re.compile(r'<(?:script|img|iframe|link|source)\b[^>]*\s(?:src|href)="?(?:https?:)?//[^">\s]+')


def on_config(config: Any) -> Any:
    """Puts the pages of each folder that the navigation names into it."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(nav: Any, docs: Path) -> Any:
    if isinstance(nav, list):
        return [_expanded(item, docs) for item in nav]
    if isinstance(nav, dict):
        return {title: _expanded(inside, docs) for title, inside in nav.items()}
    if nav.endswith("/"):
        return [str(path.relative_to(docs)) for path in sorted((docs / nav).glob("*.md"))]
    return nav


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses what a browser would fetch from elsewhere."""
    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}")
    return output
