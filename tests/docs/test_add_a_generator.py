"""The page docs/add-a-generator.md, done: its package is written, installed, tested and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "add-a-generator.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page's package."""
    folder = tmp_path_factory.mktemp("hepfm-cosmics")
    blocks = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for name, text in blocks:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", site, package], check=True, timeout=120)
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "HEPFM_PLUGINS_STRICT": "1", "COLUMNS": "140"}


def test_its_test_passes(package: Path, installed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_generator.py"]
    done = subprocess.run(
        command, check=False, cwd=package, env=installed, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_work(tmp_path: Path, installed: dict[str, str]) -> None:
    def hepfm(*arguments: str) -> str:
        command = [sys.executable, "-m", "hepfm", *arguments]
        done = subprocess.run(
            command, check=False, cwd=tmp_path, env=installed, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "cosmics" in hepfm("plugin", "list")
    assert "Edge of a voxel." in hepfm("simulate", "cosmics", "--help")
    made = hepfm("simulate", "cosmics", "--events", "30", "--muons", "2", "--out", "store", "--workers", "0")
    assert "30 events written" in made
    hepfm("data", "inspect", "store", "--display", "event.html")
    assert (tmp_path / "event.html").stat().st_size > 1000
    printed = hepfm(
        "pretrain",
        "image3d/masked-tiny",
        "--in-process",
        *("--set", "data.train={generator: cosmics, events: 100000}"),
        *(
            "--set",
            "data.val={generator: cosmics, events: 1000, seed: 2}",
            "--set",
            "train.validate_events=4",
        ),
        *("--set", "train.steps=2", "--set", "train.warmup_steps=1", "--set", "data.batch_events=2"),
        *("--set", "train.marginal_events=4"),
    )
    assert "done after 2 steps" in printed
