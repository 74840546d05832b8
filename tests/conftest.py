"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# The time of an example tells of the machine's other work, not of the code.
hypothesis.settings.register_profile(
    "hepfm", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hepfm")

# Before torch is imported: what is small is slower on several cores, and the suite's processes share them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files first that start Ray: they take longest, and processes that share the suite end together."""
    starts_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in starts_ray)


@pytest.fixture
def tracks_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the plugin ``hepfm-tracks``, a generator, which is installed in this process."""
    from hepfm.plugins import plugins

    folder = ROOT / "tests" / "plugins" / "tracks"
    monkeypatch.syspath_prepend(folder)
    plugins.cache_clear()
    yield folder
    plugins.cache_clear()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real and reference data; the test is skipped where it is absent."""
    folder = Path(os.environ.get("HEPFM_REAL_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip("no real data: set HEPFM_REAL_DATA to the folder that data/README.md describes")
    return folder
