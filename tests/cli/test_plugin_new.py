"""``hepfm plugin new``: which names and folders it takes, and what becomes of any name."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.cli.plugin_new import HOOK_OF, new
from hepfm.errors import RecipeError
from hepfm.plugins import SPEC_OF


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing is written into the repository."""
    monkeypatch.chdir(tmp_path)


def refusal(name, **options):
    """The error for a name; nothing may have been written."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(RecipeError) as caught:
        new(name, **{"kind": "reader", "out": None, **options})
    assert sorted(Path.cwd().rglob("*")) == before
    return caught.value


def test_kinds_are_hooks():
    assert set(HOOK_OF.values()) <= set(SPEC_OF)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TileCalo", "tile-calo"),
        ("tile_calo", "tile-calo"),
        ("My Detector", "my-detector"),
        ("hepfm-tile", "tile"),
        ("tile-", "tile"),
        ("calo/x", "calo-x"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_one_that_can(name, meant):
    assert refusal(name).fix == f"did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["", "7up", "größe", "../x", "a" * 41, "-x"])
def test_what_no_module_can_be_called_is_refused(name):
    assert "cannot be a plugin's name" in refusal(name).what


def test_names_of_others_are_refused():
    assert "plugin 'image3d'" in refusal("image3d", kind="head").what
    assert "plugin 'core' (hepfm" in refusal("masked", kind="objective").what
    assert "plugin 'image3d'" in refusal("pilarnet").what
    assert "plugin 'structured'" in refusal("collider", kind="modality").what  # comes with a generator
    new("masked", kind="reader")  # an objective's name is free to a reader
    new("collider", kind="objective")


def test_a_name_whose_module_exists_is_refused(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "hepfm_tile_calo.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert "module hepfm_tile_calo" in refusal("tile-calo").what


def test_an_unknown_kind_is_refused():
    assert refusal("tile", kind="modalty").fix == "did you mean 'modality'?"
    assert refusal("tile", kind="detector").fix == "known: generator, head, modality, objective, reader"


def test_a_folder_with_something_in_it_is_left_alone():
    Path("hepfm-tile").mkdir()
    new("tile", kind="reader")
    assert "is not empty" in refusal("tile").what
    Path("notes").write_text("mine")
    assert "is a file" in refusal("other", out=Path("notes")).what
    assert Path("notes").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_said():
    Path("notes").write_text("mine")
    assert "cannot be written: Not a directory" in refusal("tile", out=Path("notes/tile")).what


def test_another_folder_can_be_named():
    new("tile", kind="reader", out=Path("work/tiles here"))
    assert Path("work/tiles here/hepfm_tile/reader.py").is_file()


names = st.from_regex(r"\A[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9}){0,2}\Z") | st.sampled_from(
    ["true", "on", "null", "class", "reader", "my-reader", "column", "target", "torch", "none", "name", "e5"]
)


@settings(max_examples=60)
@given(name=names, kind=st.sampled_from(sorted(HOOK_OF)))
def test_any_name_gives_a_package_that_says_what_it_means(name, kind):
    """Whatever Python, TOML and YAML make of the word."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package"
        try:
            new(name, kind=kind, out=path)
        except RecipeError as error:
            assert "taken" in error.what or name.startswith("hepfm-")  # noqa: PT017
            return
        module = "hepfm_" + name.replace("-", "_")
        project = tomllib.loads((path / "pyproject.toml").read_text())["project"]
        assert project["name"] == f"hepfm-{name}"
        assert project["entry-points"]["hepfm"] == {name: module}
        trees = {file: ast.parse(file.read_text()) for file in path.rglob("*.py")}
        for tree in trees.values():
            defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
            imported = [
                a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names
            ]
            assert len({*defined, *imported}) == len(defined) + len(imported)
        specs = [
            {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            for node in ast.walk(trees[path / module / "__init__.py"])
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Spec")
        ]
        for spec in specs:
            assert spec["name"].split("/")[0] == name
            source, _, what = spec["target"].partition(":")
            file = path / Path(*source.split(".")).with_suffix(".py")
            if what.endswith(".yaml"):
                assert (path / source / what).is_file()
            else:
                tree = trees[file]
                assert what in [n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        for file in path.rglob("*.yaml"):
            recipe = yaml.safe_load(file.read_text())
            assert recipe["name"] == f"{name}-tiny"
            used = (
                recipe.get("data", {}).get("train", {}).get("generator"),
                recipe.get("objective", {}).get("name"),
                *recipe.get("data", {}).get("parts", {}),
            )
            assert name in used


def test_the_command_says_what_to_do_next_and_errors_in_sentences(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "hepfm", "plugin", "new", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    done = run("tile", "--kind", "generator")
    assert done.returncode == 0, done.stderr
    for command in ("cd hepfm-tile", "pip install -e '.[test]'", "pytest", "hepfm plugin show tile"):
        assert f"  {command}\n" in done.stdout
    again = run("tile", "--kind", "generator")
    assert again.returncode == RecipeError.exit_code
    assert again.stderr.splitlines() == [
        "Error: The folder is not empty.",
        "  where: hepfm-tile",
        "  to do: name another with --out",
    ]
