"""What mkdocs is told beside mkdocs.yml: a folder in the navigation stands for its pages, by name."""
# ruff: noqa: INP001  a script, not a package

from __future__ import annotations

from pathlib import Path
from typing import Any


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
