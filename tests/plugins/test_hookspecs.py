"""Every hook is documented with an example that runs, and each works."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

from hepfm import hookspecs
from hepfm.plugins import SPEC_OF

ROOT = Path(__file__).parents[2]
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("hepfm_"))


def examples(hook):
    return doctest.DocTestParser().get_examples(inspect.getdoc(getattr(hookspecs, hook)))


@pytest.mark.parametrize("hook", HOOKS)
def test_the_documented_example_is_a_plugin_that_registers(hook, site):
    """The example, put into a module as it stands, is taken as a plugin."""
    assert examples(hook), f"{hook} has no example"
    source = "from hepfm import api\nHEPFM_API = (1, 0)\n" + "".join(
        example.source for example in examples(hook)
    )
    site.install("hepfm-example", source)
    plugins = site.discover()
    (info,) = [info for info in plugins.infos if info.name == "example"]
    assert info.status == "ok", info.error
    short = hook.removeprefix("hepfm_")
    (name,) = info.registered[short]
    assert type(plugins.find(short, name)) is SPEC_OF[short]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_reference_has_its_signature_and_its_example(hook):
    """The page docs/reference/hooks.md, which docs/plugins.md leads to."""
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text()
    (section,) = re.findall(rf"^## {hook}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    spec = SPEC_OF[hook.removeprefix("hepfm_")].__name__
    signature, example = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert signature == f"def {hook}() -> Sequence[api.{spec}]: ...\n"
    assert example == "".join(each.source for each in examples(hook))
    assert "The target is" in section


def test_doctests_of_the_hooks_run():
    result = doctest.testmod(hookspecs)
    assert result.attempted >= len(HOOKS)
    assert result.failed == 0


def test_all_hooks_of_the_architecture_are_there():
    assert set(SPEC_OF) == {
        "modalities",
        "readers",
        "generators",
        "backbones",
        "objectives",
        "heads",
        "metrics",
        "displays",
        "recipes",
        "callbacks",
        "health_checks",
        "commands",
    }
