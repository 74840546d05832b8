"""What ``hepfm plugin new`` writes works as it is: it installs, its tests pass, its README can be followed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hepfm.cli.plugin_new import HOOK_OF

ROOT = Path(__file__).parents[2]
HEPFM = [sys.executable, "-m", "hepfm"]
FEW_STEPS = (
    "--in-process --set train.steps=2 --set train.warmup_steps=1 --set train.validate_events=4 "
    "--set train.marginal_events=4 --set tracking.displays=1"
)
OF_FILES, OF_GENERATORS = "--set data.batch_cost=3000", "--set data.batch_events=2"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A folder with a plugin ``my-KIND`` of each kind, as the command wrote it."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in HOOK_OF:
        command = [*HEPFM, "plugin", "new", "--kind", kind, f"my-{kind}"]
        done = subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True, timeout=60)
        assert f"cd hepfm-my-{kind}" in done.stdout
    return folder


@pytest.fixture(scope="module")
def installed(plugins, tmp_path_factory):
    """An environment in which all of them are installed."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--target", str(site), *(str(plugins / f"hepfm-my-{kind}") for kind in HOOK_OF)]
    subprocess.run(command, check=True, timeout=200)
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    fixed = {"PYTHONPATH": path, "PATH": programs, "HEPFM_PLUGINS_STRICT": "1", "COLUMNS": "140"}
    return {**os.environ, **fixed}


def test_nothing_that_stands_for_a_name_is_left(plugins):
    files = [path for path in plugins.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        text = path.read_text()
        assert not re.search(r"\b(NAME|MODULE|CLASS)\b", f"{path}\n{text}"), path
        assert path.suffix != ".py" or all(len(line) <= 110 for line in text.splitlines()), path


def test_plugin_list_shows_them_all(installed):
    done = subprocess.run(
        [*HEPFM, "plugin", "list", "--json"],
        check=True,
        env=installed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = {info["name"]: info for info in json.loads(done.stdout)}
    for kind, hook in HOOK_OF.items():
        assert found[f"my-{kind}"]["status"] == "ok"
        assert found[f"my-{kind}"]["distribution"] == f"hepfm-my-{kind}"
        assert found[f"my-{kind}"]["registered"][hook] == [f"my-{kind}"]


@pytest.mark.parametrize("kind", HOOK_OF)
def test_its_tests_pass(plugins, installed, kind):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        command,
        check=False,
        cwd=plugins / f"hepfm-my-{kind}",
        env=installed,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9] passed", done.stdout)


@pytest.mark.parametrize("kind", HOOK_OF)
def test_its_readme_can_be_followed(plugins, installed, kind, tmp_path):
    (block,) = re.findall(
        r"```bash\n(.*?)```", (plugins / f"hepfm-my-{kind}" / "README.md").read_text(), re.DOTALL
    )
    install, test, *commands = block.splitlines()
    assert install == "pip install -e '.[test]'"
    assert test == "pytest"
    if kind != "head":
        assert any("hepfm pretrain" in command for command in commands)
    for command in commands:
        few = ""
        if command.startswith("hepfm pretrain"):
            few = f"{FEW_STEPS} {OF_GENERATORS if kind in {'modality', 'generator'} else OF_FILES}"
        done = subprocess.run(
            ["bash", "-c", f"{command} {few}"],
            check=False,
            cwd=tmp_path,
            env=installed,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        if few:
            assert "done after 2 steps" in done.stdout
            drawn = list(tmp_path.glob("runs/*/displays/*.png"))
            assert drawn, next(tmp_path.glob("runs/*/log.txt")).read_text()


@pytest.mark.slow
def test_their_types_are_right(plugins):
    """As strictly as those of hepfm itself."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--ignore-missing-imports",
        "--follow-imports=silent",
    ]
    command += ["--cache-dir", str(plugins / "mypy"), *(f"--package=hepfm_my_{kind}" for kind in HOOK_OF)]
    folders = [ROOT / "platform", ROOT / "plugins", *(plugins / f"hepfm-my-{kind}" for kind in HOOK_OF)]
    done = subprocess.run(
        command,
        check=False,
        cwd=plugins,
        env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
