"""The commands of the pages work, and print what the pages show."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


HEPFM = str(Path(sys.executable).parent / "hepfm")
ELSEWHERE = {"MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"}


@pytest.fixture
def follow(pages, tmp_path):
    """Runs the blocks of a page one after another in an empty folder; the page has to show what they print."""

    def follow(page, **environment):
        env = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        env["PATH"] = os.pathsep.join((str(Path(HEPFM).parent), env["PATH"]))
        count = 0
        for block in pages.blocks(ROOT / page):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.script],
                check=False,
                cwd=tmp_path,
                env={**env, "COLUMNS": "100", **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=280,
            )
            where = f"{page}, line {block.line}"
            assert done.returncode == 0, f"{where}:\n{block.script}\n{done.stdout}"
            missing = pages.not_printed(block.shown, done.stdout)
            assert not missing, f"{where} shows\n{chr(10).join(missing)}\nbut it printed\n{done.stdout}"
            count += 1
        return count

    return follow


@pytest.fixture
def services(tmp_path):
    """Options of ``hepfm up`` with ports that are free; what it starts in the test's folder is ended."""
    with ExitStack() as held:
        ports = [held.enter_context(_listening()).getsockname()[1] for _ in range(3)]
    names = ("--ray-port", "--dashboard-port", "--mlflow-port")
    yield " ".join(f"{name} {port}" for name, port in zip(names, ports, strict=True))
    subprocess.run([HEPFM, "down", "--force"], check=True, cwd=tmp_path, timeout=240)


def _listening():
    """A socket on a port below those that outgoing connections get."""
    for port in random.sample(range(20000, 32000), 100):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", port))
        except OSError:
            held.close()
        else:
            return held
    raise OSError("no free port")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_quickstart_works(follow):
    assert follow("docs/quickstart.md") >= 5


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_first_job_works(follow, services):
    assert follow("docs/first-job.md", PORTS=services) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_works(follow):
    assert follow("README.md") >= 2


def test_the_recipes_page_works(follow):
    assert follow("docs/recipes.md") >= 3


def test_the_page_on_objectives_works(follow):
    assert follow("docs/objectives.md") == 2


@pytest.mark.slow
def test_the_page_on_evaluating_works(follow):
    assert follow("docs/tasks-evaluate.md") == 8


@pytest.mark.slow
def test_the_page_on_anomalies_works(follow):
    assert follow("docs/tasks-anomaly.md") == 3


def test_the_page_on_several_parts_works(follow):
    assert follow("docs/multimodal.md") == 4


def test_the_page_on_adaptation_and_export_works(follow):
    assert follow("docs/tasks-adapt.md") == 3


def test_the_page_on_simulating_works(follow):
    assert follow("docs/simulate.md") == 5


def test_the_page_on_lartpc_events_works(follow):
    assert follow("docs/lartpc.md") == 5


def test_the_page_on_waveforms_works(follow):
    assert follow("docs/waveforms.md") >= 3


def test_the_page_on_denoising_and_unfolding_works(follow):
    assert follow("docs/tasks-waveforms.md") == 1


def test_the_page_on_structured_data_works(follow):
    assert follow("docs/structured.md") >= 3


def test_the_page_on_plugins_works(follow):
    assert follow("docs/plugins.md") == 2


def test_the_tutorial_on_modalities_works(follow, tmp_path):
    # As after an editable installation: the module from where it is written, what is known of it from where pip put it.
    path = (tmp_path / "hepfm-tilecal", tmp_path / "site", os.environ.get("PYTHONPATH"))
    environment = {"PYTHONPATH": os.pathsep.join(map(str, filter(None, path))), "HEPFM_PLUGINS_STRICT": "1"}
    assert follow("docs/add-a-modality.md", **environment) == 10
    assert (tmp_path / "event.html").stat().st_size > 1000
    schema = (tmp_path / "hepfm-tilecal" / "hepfm_tilecal" / "schema.py").read_text()
    assert '"time_ns"' in schema
    assert len(list(tmp_path.glob("runs/tilecal-time-*/displays/*.png"))) > 0


def test_the_readme_shows_what_the_quickstart_shows(pages):
    quickstart = (ROOT / "docs" / "quickstart.md").read_text()
    readme = (ROOT / "README.md").read_text()
    shown = [
        line for line in readme.splitlines() if line.startswith(("step ", "Run  ", "Status  ", "Weights "))
    ]
    assert len(shown) >= 5
    assert all(line in quickstart.splitlines() for line in shown)


def test_the_readme_names_commands_that_the_first_job_runs(pages):
    section = (ROOT / "README.md").read_text().partition("## Jobs\n")[2].partition("## ")[0]
    commands = [line.partition("  ")[0] for line in section.splitlines() if line.startswith("hepfm ")]
    assert len(commands) == 4
    page = (ROOT / "docs" / "first-job.md").read_text().splitlines()
    assert all(command in page for command in commands)


def test_a_line_that_is_not_printed_is_noticed(pages):
    printed = "step 4/4  loss 1.5000  val 1.7\nRun   runs/mine-0123abcd\n"
    assert (
        pages.not_printed("step 200/200  loss 1.78  val 1.79\n...\nRun  runs/mine-89ab4567\n", printed) == []
    )
    assert pages.not_printed("Run  runs/yours-89ab4567\n", printed) == ["Run  runs/yours-89ab4567"]
    assert pages.not_printed("Status done\n", printed) == ["Status done"]
