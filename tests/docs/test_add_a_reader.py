"""The page docs/add-a-reader.md, done: its package is written, installed, tested and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "add-a-reader.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page's package."""
    folder = tmp_path_factory.mktemp("hepfm-pixeltpc")
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
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
    ]
    subprocess.run([*command, site, package], check=True, timeout=120)
    return {**os.environ, "PYTHONPATH": str(site), "HEPFM_PLUGINS_STRICT": "1"}


def test_its_test_passes(package: Path, installed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_reader.py"]
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

    rng = np.random.default_rng(1)
    for name in ("run1.npz", "run9.npz"):
        n_hits = rng.integers(50, 200, 12)
        hits = rng.normal(0, 60, (n_hits.sum(), 3))
        np.savez(tmp_path / name, xyz_mm=hits, energy_mev=rng.exponential(1.0, n_hits.sum()), n_hits=n_hits)

    assert "pixeltpc" in hepfm("plugin", "list")
    assert "12" in hepfm("data", "inspect", "run1.npz")
    hepfm("data", "check", "run1.npz", "run9.npz")
    hepfm("data", "convert", "run1.npz", "store", "--workers", "0")
    printed = hepfm(
        "pretrain",
        "image3d/masked-tiny",
        "--in-process",
        *("--set", "data.train=store", "--set", "data.val=run9.npz"),
        *("--set", "train.steps=2", "--set", "train.warmup_steps=1", "--set", "data.batch_cost=500"),
    )
    assert "done after 2 steps" in printed
