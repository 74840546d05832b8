"""The doctor finds what is wrong, says what to do about it, and its exit code says whether anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from hepfm.cli.doctor import folder_findings, package_findings

HEALTH = """
from hepfm import api

HEPFM_API = (1, 0)

@api.hookimpl
def hepfm_health_checks():
    return [api.HealthCheckSpec(name="tables", target="hepfm_ill:tables")]

def tables():
    yield api.Finding(subject="calo tables", status="warning", found="old", fix="fetch them")
    raise OSError("disk on fire")
"""


def doctor(*args, env=None):
    command = [sys.executable, "-m", "hepfm.cli.main", "doctor", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_machine_that_passes_the_tests_is_healthy():
    result = doctor("--json")
    found = {finding["subject"]: finding for finding in json.loads(result.stdout)}
    errors = [finding for finding in found.values() if finding["status"] == "error"]
    assert errors == []
    assert result.returncode == 0
    for package in ("torch", "deepspeed", "ray", "mlflow", "h5py", "hdf5plugin"):
        assert found[package]["found"] == version(package)
    assert {
        "Python",
        "torch threads",
        "precision",
        "HDF5 filters",
        "memory",
        "disk",
        "plugin image3d",
    } <= set(found)
    assert all(finding["fix"] for finding in found.values() if finding["status"] != "ok")


def test_a_plugins_check_is_asked_and_one_that_fails_is_an_error(install):
    result = doctor(env=install("ill", HEALTH))
    assert result.returncode == 1
    for text in ("calo tables", "fetch them", "OSError: disk on fire", "reinstall hepfm-ill"):
        assert text in result.stdout


def test_a_broken_plugin_is_an_error_with_its_cause(install):
    result = doctor("--json", env=install("ill", "import a_module_that_is_not_there\n"))
    (ill,) = [finding for finding in json.loads(result.stdout) if finding["subject"] == "plugin ill"]
    assert (result.returncode, ill["status"]) == (1, "error")
    assert "a_module_that_is_not_there" in ill["found"]
    assert "hepfm-ill" in ill["fix"]


@pytest.mark.parametrize(
    ("requirement", "status", "found"),
    [
        ("numpy>=2.1", "ok", version("numpy")),
        ("numpy>=99", "error", "but >=99 is needed"),
        ("no-such-distribution-here>=1", "error", "not installed"),
    ],
)
def test_requirements_are_compared_with_what_is_installed(requirement, status, found):
    (finding,) = package_findings([requirement])
    assert finding.status == status
    assert found in finding.found
    assert finding.fix == ("" if status == "ok" else f"pip install '{requirement}'")


def test_requirements_of_extras_and_other_platforms_are_left_out():
    assert list(package_findings(['none-such; extra == "test"', 'none-such; sys_platform == "win32"'])) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (finding,) = folder_findings(tmp_path / "file" / "runs")
    assert finding.status == "error"
    assert "--runs" in finding.fix


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    assert [finding.status for finding in folder_findings(tmp_path / "runs")] == ["ok", "ok"]
    assert list(tmp_path.iterdir()) == []
