"""The reference is that of the code, and every page of the reference says what it lists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date():
    command = [sys.executable, str(ROOT / "tools" / "make_reference.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"make reference writes it again:\n{done.stdout}{done.stderr}"


def test_every_option_and_setting_says_what_it_is():
    for page in ("commands.md", "settings.md"):
        for line in (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8").splitlines():
            if line.startswith("| `"):
                assert re.search(r"\| [^|]*\w[^|]* \|$", line), f"{page}: {line}"


def test_no_page_asks_another_host_for_anything():
    """A reader's browser loads scripts, styles, fonts and pictures from the site alone."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert "http://" not in settings
    assert "https://" not in settings
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"!\[[^\]]*\]\(\w+://|<(script|link|img|iframe)\b|```mermaid", text), page


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_outside_of_the_site_lead_somewhere(page):
    """mkdocs checks those inside of it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or (ROOT / link).exists(), link
