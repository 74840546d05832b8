"""One HTML file that needs nothing else: data and plotly are inside, plotly compressed."""

from __future__ import annotations

import base64
import functools
import gzip
import html
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs


def write_page(path: Path, template: str, *, title: str, data: Any) -> None:
    """Fills a template of this package, and replaces the file at once.

    Args:
        path: The HTML file.
        template: A file's name; ``@TITLE@``, ``@PLOTLY@`` and ``@DATA@`` in it are replaced.
        title: As text.
        data: What JSON can hold; no NaN.
    """
    page = files("hepfm.display").joinpath(template).read_text(encoding="utf-8")
    # Without "<", nothing in the data can end the script element or open a comment in it.
    inside = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    content = {"@TITLE@": html.escape(title), "@PLOTLY@": _plotly(), "@DATA@": inside}
    page = re.sub("|".join(content), lambda mark: content[mark[0]], page)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)


@functools.cache
def _plotly() -> str:
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
