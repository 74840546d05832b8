"""The command line as a user meets it: fast, lazy, and without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from hepfm.cli import main as cli
from hepfm.errors import DataError
from hepfm.plugins import plugins

HEAVY = ("torch", "ray", "deepspeed", "mlflow", "numpy")

COMMANDS = """
import typer
from hepfm import api
from hepfm.errors import DataError

HEPFM_API = (1, 0)

@api.hookimpl
def hepfm_commands():
    names = {"tool": "app", "hello": "hello", "fail": "fail", "crash": "crash", "stop": "stop", "odd": "ODD"}
    specs = [api.CommandSpec(name=n, target=f"hepfm_tool:{t}", summary=f"Says {n}.") for n, t in names.items()]
    return [*specs, api.CommandSpec(name="lost", target="hepfm_nowhere:app", summary="Cannot be imported.")]

app = typer.Typer()

@app.command()
def only(count: int = 1):
    print("tool", count)

def hello(name: str, *, loud: bool = False):
    "Greet."
    print(name.upper() if loud else name)

def fail():
    raise DataError("The file is cut.", where="a.h5, event 3", fix="fetch it again")

def crash():
    error = ValueError("seven")
    error.add_note("the traceback is in runs/x/log.txt")
    raise error

def stop():
    raise KeyboardInterrupt

ODD = 3
"""


@pytest.fixture
def installed(install):
    """The environment of a process that sees a plugin with commands."""
    return install("tool", COMMANDS)


def hepfm(*args, env=None):
    command = [sys.executable, "-m", "hepfm.cli.main", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "args", [["--help"], ["plugin", "list"], ["plugin", "list", "--json"], ["--version"]]
)
def test_help_and_plugin_list_import_nothing_heavy(args):
    source = f"""
import sys
sys.argv = ["hepfm", *{args!r}]
from hepfm.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == "heavy: []\n"
    assert result.stdout


def test_help_lists_every_command_with_its_summary(installed):
    shown = hepfm("--help", env=installed).stdout
    for spec in plugins().specs("commands"):
        assert spec.name in shown
        assert spec.summary in shown
    assert "Cannot be imported." in shown


def test_version():
    assert hepfm("--version").stdout == f"hepfm {version('hepfm')}\n"


def test_a_typer_app_is_a_group_and_a_function_one_command(installed):
    assert hepfm("tool", "only", "--count", "3", env=installed).stdout == "tool 3\n"
    assert hepfm("hello", "world", "--loud", env=installed).stdout == "WORLD\n"
    shown = hepfm("hello", "--help", env=installed).stdout
    assert "Greet." in shown
    assert "Usage: hepfm hello" in shown or "Usage: python -m hepfm.cli.main hello" in shown


def test_a_users_error_is_a_message_with_the_exit_code_of_its_kind(installed):
    result = hepfm("fail", env=installed)
    assert result.returncode == DataError.exit_code == 3
    assert result.stderr == "Error: The file is cut.\n  where: a.h5, event 3\n  to do: fetch it again\n"
    assert result.stdout == ""


def test_an_unexpected_error_is_one_message_that_says_where_the_traceback_is(installed):
    result = hepfm("crash", env=installed)
    assert result.returncode == 1
    assert "ValueError: seven" in result.stderr
    assert "HEPFM_DEBUG=1" in result.stderr
    assert "the traceback is in runs/x/log.txt" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("command", "raised"), [("fail", "DataError"), ("crash", "ValueError")])
def test_debug_shows_the_traceback(installed, command, raised):
    stderr = hepfm(command, env={**installed, "HEPFM_DEBUG": "1"}).stderr
    assert "Traceback (most recent call last)" in stderr
    assert raised in stderr


def test_an_interrupt_exits_with_130(installed):
    result = hepfm("stop", env=installed)
    assert result.returncode == 130
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "cause"), [("lost", "hepfm_nowhere"), ("odd", "neither a typer app nor")]
)
def test_a_command_that_cannot_be_loaded_is_a_plugins_error(installed, command, cause):
    result = hepfm(command, env=installed)
    assert result.returncode == 4
    assert cause in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_gets_a_hint(installed):
    result = hepfm("pretrian", env=installed)
    assert result.returncode == 2
    assert "pretrain" in result.stderr


def test_an_unknown_command_names_the_broken_plugin_that_may_have_had_it(install):
    installed = install("tool", "import a_module_that_is_not_there\n")
    result = hepfm("tool", env=installed)
    assert result.returncode == 4
    assert "a_module_that_is_not_there" in result.stderr
    strict = hepfm("--help", env={**installed, "HEPFM_PLUGINS_STRICT": "1"})
    assert strict.returncode == 4
    assert "tool (hepfm-tool)" in strict.stderr


def complete(words, env):
    """What bash would offer for these words, as its completion script asks."""
    asked = {
        "_HEPFM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    script = "from hepfm.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**env, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout.split()


def test_shell_completion_offers_commands_sub_commands_options_and_names(installed):
    assert {"pretrain", "plugin", "pack"} & set(complete("hepfm p", installed)) == {"pretrain", "plugin"}
    assert complete("hepfm plugin ", installed) == ["list", "show", "new"]
    assert "--json" in complete("hepfm plugin list --", installed)
    assert complete("hepfm plugin show im", installed) == ["image3d"]
    assert "--loud" in complete("hepfm hello --", installed)


def test_completion_can_be_installed(tmp_path, installed):
    result = hepfm(
        "--install-completion",
        "bash",
        env={**installed, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.rglob("*.sh")), "no completion script was written"


def test_plugin_list_and_show_as_json(installed):
    listed = {
        info["name"]: info for info in json.loads(hepfm("plugin", "list", "--json", env=installed).stdout)
    }
    assert listed["tool"]["distribution"] == "hepfm-tool"
    assert listed["tool"]["status"] == "ok"
    assert listed["image3d"]["registered"]["modalities"] == ["image3d"]
    shown = json.loads(hepfm("plugin", "show", "tool", "--json", env=installed).stdout)
    assert shown["version"] == "1.0"
    assert {spec["target"] for spec in shown["specs"]["commands"]} >= {"hepfm_tool:app", "hepfm_tool:hello"}


def test_plugin_list_and_show_tell_what_is_wrong(install):
    installed = install("tool", "import a_module_that_is_not_there\n")
    for args in (["list"], ["show", "tool"]):
        result = hepfm("plugin", *args, env=installed)
        assert result.returncode == 0
        assert "error" in result.stdout
        assert "No module named 'a_module_that_is_not_there'" in result.stdout
    unknown = hepfm("plugin", "show", "tols", env=installed)
    assert unknown.returncode == 4
    assert "did you mean 'tool'" in unknown.stderr


def test_plugin_show_gives_targets(installed):
    shown = hepfm("plugin", "show", "image3d", env=installed).stdout
    assert "image3d/masked-tiny" in shown
    assert "hepfm_image3d.modality:Image3D" in shown


def test_every_command_of_the_platform_can_be_entered():
    root = typer.main.get_command(cli.app)
    parent = root.make_context("hepfm", [], resilient_parsing=True)
    for spec in plugins().specs("commands"):
        context = root.get_command(parent, spec.name).make_context(
            spec.name, [], parent=parent, resilient_parsing=True
        )
        assert context.command.help, f"{spec.name} says nothing about itself"
