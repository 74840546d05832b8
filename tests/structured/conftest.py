"""Small files of each format, with the numbers that they were made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are remembered by path and time: tests that change files in the same tick share none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def jetclass(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, list[np.ndarray]], np.ndarray]]:
    """Writes jets as JetClass has them; returns the file, each column's lists, and the classes ``(N,)``."""
    import awkward as ak
    import uproot

    def write(name: str = "jets.root", n: int = 40, seed: int = 0, **change):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(seed)
        lengths = rng.integers(0, 12, n)
        lengths[3] = 0
        lists: dict[str, list[np.ndarray]] = {c: [] for c in ("px", "py", "pz", "energy", "charge", "deta")}
        flags = ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
        lists |= {flag: [] for flag in flags}
        for length in lengths:
            p, mass = rng.normal(0, 30, (3, length)), rng.choice([0.0005, 0.1396, 0.938], length)
            for column, values in zip(("px", "py", "pz"), p, strict=True):
                lists[column].append(values.astype("f4"))
            lists["energy"].append(np.sqrt((p.astype("f4").astype("f8") ** 2).sum(0) + mass**2).astype("f4"))
            lists["charge"].append(rng.choice([-1.0, 0.0, 1.0], length).astype("f4"))
            lists["deta"].append(rng.normal(0, 0.3, length).astype("f4"))
            kind = rng.integers(0, 5, length)
            for k, flag in enumerate(flags):
                lists[flag].append((kind == k).astype("f4"))
        classes = rng.integers(0, 3, n)
        branches = {
            f"part_{c}": ak.Array(rows) if n else ak.Array(np.zeros((0, 0))) for c, rows in lists.items()
        }
        branches |= {f"label_{c}": (classes == k).astype("f4") for k, c in enumerate(("QCD", "Hbb", "Tbqq"))}
        branches |= {"jet_pt": rng.uniform(500, 1000, n).astype("f4"), "aux_truth_match": np.ones(n, "i4")}
        for branch, how in change.items():
            branches[branch] = how(branches[branch])
            if branches[branch] is None:
                del branches[branch]
        path = tmp_path / name
        with uproot.recreate(path) as file:
            file.mktree("tree", {b: _kind(v) for b, v in branches.items()})
            file["tree"].extend(branches)
        return path, lists, classes

    return write


def _kind(values: object) -> object:
    import awkward as ak

    return values.type.content if isinstance(values, ak.Array) else np.asarray(values).dtype


def packed(reader: object) -> Iterator[tuple[dict, dict]]:
    """Each event's inputs and labels, all read at once."""
    part = next(iter(reader.parts))
    batch = reader.read(range(len(reader)))
    for k in range(len(batch)):
        event = batch.event(k)
        yield event.parts[part], event.labels.get(part, {})


@pytest.fixture(scope="session")
def events_of() -> Callable[[object], list[tuple[dict, dict]]]:
    """All events of a reader, as pairs of inputs and labels."""
    return lambda reader: list(packed(reader))
