"""A broken plugin is named with its cause, and the others go on working."""

from __future__ import annotations

import pytest

from hepfm import api
from hepfm.errors import PluginError

GOOD = """
from hepfm import api

HEPFM_API = (1, 0)

@api.hookimpl
def hepfm_readers():
    return [api.ReaderSpec(name="good-h5", target="hepfm_good:Reader", suffixes=(".h5",))]

class Reader:
    pass
"""


def readers(specs):
    return f"from hepfm import api\nHEPFM_API = (1, 0)\n@api.hookimpl\ndef hepfm_readers():\n    {specs}\n"


def info(plugins, name):
    (found,) = [info for info in plugins.infos if info.name == name]
    return found


def test_a_strangers_plugin_comes_in_like_the_built_in_ones(site):
    site.install("hepfm-good", GOOD, version="2.3")
    plugins = site.discover()
    found = info(plugins, "good")
    assert (found.status, found.distribution, found.version, found.module) == (
        "ok",
        "hepfm-good",
        "2.3",
        "hepfm_good",
    )
    assert found.registered == {"readers": ["good-h5"]}
    assert info(plugins, "core").distribution == info(plugins, "image3d").distribution == "hepfm"
    assert plugins.find("readers", "good-h5") == api.ReaderSpec(
        name="good-h5", target="hepfm_good:Reader", suffixes=(".h5",)
    )
    assert plugins.load("readers", "good-h5").__name__ == "Reader"
    assert plugins.provider("readers", "good-h5") == found
    assert plugins.versions()["good"] == {"distribution": "hepfm-good", "version": "2.3"}


BROKEN = {
    "import": ("import a_module_that_is_not_there\n", "No module named 'a_module_that_is_not_there'"),
    "exit": ("raise SystemExit('I leave')\n", "SystemExit: I leave"),
    "syntax": ("def (:\n", "SyntaxError"),
    "no-api": ("x = 1\n", "HEPFM_API must be a pair"),
    "odd-api": ("HEPFM_API = '1.0'\n", "HEPFM_API must be a pair"),
    "other-api": ("HEPFM_API = (2, 0)\n", "written for version 2 of the API; this hepfm has 1"),
    "raises": (readers("raise ValueError('no table')"), "ValueError: no table"),
    "not-a-list": (readers("return 3"), "TypeError"),
    "not-a-spec": (readers("return ['store']"), "must return ReaderSpecs, not str"),
    "other-spec": (
        readers("return [api.HeadSpec(name='a', target='b:c')]"),
        "must return ReaderSpecs, not HeadSpec",
    ),
    "target": (readers("return [api.ReaderSpec(name='a', target='no colon')]"), "with target 'no colon'"),
    "no-name": (readers("return [api.ReaderSpec(name='', target='a:b')]"), "registers ''"),
    "twice": (readers("return [api.ReaderSpec(name='a', target='b:c')] * 2"), "registers twice: a"),
    "argument": (GOOD.replace("hepfm_readers()", "hepfm_readers(path)"), "path"),
    "unmarked": (GOOD.replace("@api.hookimpl", ""), "hepfm_readers is not marked"),
    "unknown": (GOOD.replace("hepfm_readers", "hepfm_reader"), "did you mean 'hepfm_readers'?"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_its_cause_and_the_others_load(site, case):
    source, cause = BROKEN[case]
    site.install("hepfm-good", GOOD)
    site.install("hepfm-broken", source)
    plugins = site.discover()
    assert info(plugins, "broken").status == "error"
    assert cause in info(plugins, "broken").error
    assert info(plugins, "broken").registered == {}
    assert [info(plugins, name).status for name in ("core", "image3d", "good")] == ["ok"] * 3
    assert plugins.load("readers", "good-h5")


def test_strict_makes_a_broken_plugin_fatal_and_names_it(site):
    site.install("hepfm-broken", "import a_module_that_is_not_there\n")
    with pytest.raises(PluginError, match=r"broken \(hepfm-broken\): .*a_module_that_is_not_there") as caught:
        site.discover(HEPFM_PLUGINS_STRICT="1")
    assert caught.value.exit_code == 4


def test_strict_is_content_with_good_plugins(site):
    site.install("hepfm-good", GOOD)
    assert info(site.discover(HEPFM_PLUGINS_STRICT="1"), "good").status == "ok"


def test_two_providers_of_a_name_are_both_named_and_neither_is_used(site):
    site.install("hepfm-good", GOOD, version="1.0")
    site.install("hepfm-copy", GOOD, version="4.5")
    plugins = site.discover()
    for name in ("good", "copy"):
        assert info(plugins, name).status == "error"
        assert "hepfm-good 1.0" in info(plugins, name).error
        assert "hepfm-copy 4.5" in info(plugins, name).error
    with pytest.raises(PluginError, match=r"offered by hepfm-copy 4.5 .* and hepfm-good 1.0"):
        plugins.find("readers", "good-h5")
    with pytest.raises(PluginError, match="neither is used"):
        plugins.load("readers", "good-h5")
    assert "good-h5" not in [spec.name for spec in plugins.specs("readers")]
    assert "store" in [spec.name for spec in plugins.specs("readers")]


def test_the_rest_of_a_plugin_in_conflict_goes_on_working(site):
    site.install("hepfm-rival", GOOD.replace('"good-h5"', '"store"').replace("hepfm_good", "hepfm_rival"))
    plugins = site.discover()
    assert info(plugins, "core").status == "error"
    assert "transformer" in [spec.name for spec in plugins.specs("backbones")]
    with pytest.raises(PluginError, match=r"hepfm-rival"):
        plugins.find("readers", "store")
    assert site.discover(HEPFM_PLUGINS_DENY="rival").find("readers", "store").target.startswith("hepfm.")


def test_one_entry_point_name_in_two_distributions_names_both_and_imports_neither(site):
    site.install("hepfm-good", GOOD)
    site.install("hepfm-twin", "raise AssertionError('imported')\n", entry="good")
    both = [info for info in site.discover().infos if info.name == "good"]
    assert [info.status for info in both] == ["error", "error"]
    assert all(
        "hepfm-good, hepfm-twin" in info.error or "hepfm-twin, hepfm-good" in info.error for info in both
    )


def test_lists_keep_plugins_from_being_imported(site):
    site.install("hepfm-good", GOOD)
    site.install("hepfm-evil", "raise AssertionError('imported')\n")
    denied = site.discover(HEPFM_PLUGINS_DENY=" evil , other")
    assert info(denied, "evil").status == "denied"
    assert info(denied, "good").status == "ok"
    allowed = site.discover(HEPFM_PLUGINS_ALLOW="good", HEPFM_PLUGINS_STRICT="1")
    statuses = {i.name: i.status for i in allowed.infos}
    assert {statuses.pop("core"), statuses.pop("good")} == {"ok"}
    assert "evil" in statuses
    assert set(statuses.values()) == {"denied"}


def test_an_unknown_name_gets_a_hint_and_the_plugins_that_may_be_why(site):
    site.install("hepfm-broken", "import a_module_that_is_not_there\n")
    with pytest.raises(PluginError, match="did you mean 'store'") as caught:
        site.discover().find("readers", "stor")
    assert "broken (hepfm-broken)" in caught.value.where
    assert "a_module_that_is_not_there" in caught.value.where


def test_a_target_that_cannot_be_imported_names_plugin_and_cause(site):
    site.install("hepfm-good", GOOD.replace("class Reader", "class Writer"))
    with pytest.raises(PluginError, match=r"Plugin 'good' cannot load 'good-h5' .*Reader") as caught:
        site.discover().load("readers", "good-h5")
    assert "hepfm_good:Reader (hepfm-good 1.0)" in caught.value.where


def test_discovery_imports_no_target(site):
    site.install("hepfm-good", GOOD.replace("hepfm_good:Reader", "hepfm_nowhere.at_all:Reader"))
    assert info(site.discover(), "good").status == "ok"
