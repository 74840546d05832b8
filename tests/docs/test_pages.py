"""The commands of the pages work, and print what the pages show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def follow(pages, tmp_path):
    """Runs the blocks of a page one after another in an empty folder; the page has to show what they print."""

    def follow(page, **environment):
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        env = {**os.environ, "PATH": path, "COLUMNS": "100", **environment}
        env.pop("MLFLOW_TRACKING_URI", None)
        count = 0
        for block in pages.blocks(ROOT / page):
            where = f"{page}, line {block.line}"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.script],
                check=False,
                cwd=tmp_path,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=280,
            )
            assert done.returncode == 0, f"{where}:\n{block.script}\n{done.stdout}"
            missing = pages.not_printed(block.shown, done.stdout)
            assert not missing, f"{where} shows\n{chr(10).join(missing)}\nbut it printed\n{done.stdout}"
            count += 1
        return count

    return follow


@pytest.mark.slow
@pytest.mark.ray
def test_the_quickstart_works(follow):
    assert follow("docs/quickstart.md") >= 5


@pytest.mark.slow
def test_the_readme_works(follow):
    assert follow("README.md") >= 2


def test_the_recipes_page_works(follow):
    assert follow("docs/recipes.md") >= 3


def test_the_readme_shows_what_the_quickstart_shows(pages):
    quickstart = (ROOT / "docs" / "quickstart.md").read_text()
    readme = (ROOT / "README.md").read_text()
    shown = [
        line for line in readme.splitlines() if line.startswith(("step ", "Run  ", "Status  ", "Weights "))
    ]
    assert len(shown) >= 5
    assert all(line in quickstart.splitlines() for line in shown)


def test_a_line_that_is_not_printed_is_noticed(pages):
    printed = "step 4/4  loss 1.5000  val 1.7\nRun   runs/mine-0123abcd\n"
    assert (
        pages.not_printed("step 200/200  loss 1.78  val 1.79\n...\nRun  runs/mine-89ab4567\n", printed) == []
    )
    assert pages.not_printed("Run  runs/yours-89ab4567\n", printed) == ["Run  runs/yours-89ab4567"]
    assert pages.not_printed("Status done\n", printed) == ["Status done"]
