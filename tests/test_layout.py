"""The tree keeps its shape: rooms, namespace, tooling and documentation of hooks."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hepfm import api, hookspecs

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALLOWED_TO_PLUGINS = {"api", "errors", "random", "readers", "nn", "metrics", "display"}


def test_nothing_hides_the_standard_librarys_platform():
    assert not (ROOT / "platform" / "__init__.py").exists()
    # A package that a test installs as a plugin may have one; what holds tests may not.
    holders = {folder for test in (ROOT / "tests").rglob("test_*.py") for folder in test.parents}
    assert not [
        str(folder) for folder in holders if ROOT in folder.parents and (folder / "__init__.py").exists()
    ]
    source = "import platform; print(platform.python_implementation())"
    result = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "CPython"


def test_every_package_is_typed_and_in_the_wheel():
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("p*/hepfm*/py.typed")}
    assert packages == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages == {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("p*/hepfm*/__init__.py")}


def test_built_in_plugins_come_in_by_entry_points():
    installed = {entry.name: entry.value for entry in entry_points(group="hepfm")}
    assert PROJECT["project"]["entry-points"]["hepfm"].items() <= installed.items()
    modules = {path.parent.name for path in (ROOT / "plugins").glob("hepfm_*/__init__.py")}
    assert modules | {"hepfm.builtin"} == set(PROJECT["project"]["entry-points"]["hepfm"].values())


def test_plugins_declare_the_api_that_they_are_written_for():
    for entry in entry_points(group="hepfm"):
        if entry.value in PROJECT["project"]["entry-points"]["hepfm"].values():
            assert entry.load().HEPFM_API == api.API_VERSION


def contract(name):
    (found,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["name"] == name]
    return found


def rooms():
    """Modules and packages right below hepfm."""
    paths = (ROOT / "platform" / "hepfm").iterdir()
    return {p.stem for p in paths if p.suffix == ".py" or (p / "__init__.py").exists()} - {
        "__init__",
        "__main__",
    }


def test_every_room_has_its_place_in_the_contracts_of_imports():
    """A new room or plugin must be put into the contracts, or nothing would watch it."""
    layers = " ".join(contract("Arrows point down")["layers"])
    placed = {
        word.strip("()").removeprefix("hepfm.") for word in layers.replace("|", " ").replace(":", " ").split()
    }
    assert rooms() - {"testing"} <= placed
    to_plugins = contract("A plugin knows api, errors, random, readers, nn, metrics and display")
    assert {
        name.removeprefix("hepfm.") for name in to_plugins["forbidden_modules"]
    } == rooms() - ALLOWED_TO_PLUGINS
    plugins = {path.parent.name for path in (ROOT / "plugins").glob("hepfm_*/__init__.py")}
    assert (
        set(to_plugins["source_modules"])
        == set(contract("The core knows no plugin")["forbidden_modules"])
        == plugins
    )
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == {"hepfm", *plugins}


def test_contract_suites_import_pytest_only_inside_functions():
    for path in (ROOT / "platform" / "hepfm" / "testing").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            assert "pytest" not in ast.unparse(node) or not isinstance(node, ast.Import | ast.ImportFrom), (
                path
            )


@pytest.mark.parametrize("hook", sorted(name for name in vars(hookspecs) if name.startswith("hepfm_")))
def test_every_hook_has_a_test(hook):
    """Each hook's example runs in tests/plugins/test_hookspecs.py; this keeps that test from losing a hook."""
    source = (ROOT / "tests" / "plugins" / "test_hookspecs.py").read_text()
    assert f'"{hook.removeprefix("hepfm_")}"' in source


def test_constraints_pin_every_requirement_to_one_version():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    assert lines == sorted(lines, key=str.upper)
    assert not [version for version in pins.values() if "+" in version or "/" in version]
    assert "hepfm" not in pins
    known = {name.lower().replace("_", "-") for name in pins}
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]:
        name = requirement.split(">")[0].split("[")[0].strip().lower().replace("_", "-")
        assert name in {*known, "hepfm"}, f"{name} is not pinned: make constraints"
    assert pins["torch"] == "2.13.0"


def test_ci_runs_what_make_offers():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    called = [line.split()[1] for line in script.read_text().splitlines() if line.startswith("make ")]
    assert called == ["test", "slow", "lint", "types", "docs"]
    targets = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in targets for target in called)
