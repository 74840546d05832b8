"""Every hook is documented with an example that runs, and each works."""

from __future__ import annotations

import doctest
import inspect

import pytest

from hepfm import hookspecs
from hepfm.plugins import SPEC_OF

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
