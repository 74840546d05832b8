"""What travels with a job: code, and nothing that is large, generated or secret."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from hepfm.errors import RecipeError
from hepfm.jobs import package


def names(packed):
    return set(zipfile.ZipFile(io.BytesIO(packed.content)).namelist())


@pytest.fixture
def folder(tmp_path):
    """A working directory with all that one may hold."""
    place = tmp_path / "work"
    for name in (
        *("train.py", "lab/__init__.py", "lab/recipe.yaml", "notes/plan.md"),
        *("events.h5", "lab/EVENTS.HDF5", "weights.safetensors", ".env", "lab/__pycache__/a.pyc"),
        *(".venv/bin/python", ".git/config.py", "runs/a/log.txt", "elsewhere/run-1/run.json"),
        *("elsewhere/run-1/metrics.jsonl", "mlruns/0/meta.yaml"),
    ):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    outside = tmp_path / "outside.py"
    outside.write_text("not of this folder")
    (place / "link.py").symlink_to(outside)
    return place


def test_code_travels_and_data_runs_caches_and_secrets_stay(folder):
    packed = package.working_directory(folder, folder / "runs")

    assert names(packed) == {"train.py", "lab/__init__.py", "lab/recipe.yaml", "notes/plan.md"}
    assert packed.warnings == ()
    assert zipfile.ZipFile(io.BytesIO(packed.content)).read("train.py") == b"train.py"


def test_what_git_ignores_stays(folder):
    (folder / ".git/config.py").unlink()
    (folder / ".git").rmdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("notes/\n*.yaml\n!keep.yaml\n")
    (folder / "keep.yaml").write_text("")

    assert names(package.working_directory(folder, folder / "runs")) == {
        *(".gitignore", "train.py", "lab/__init__.py", "keep.yaml")
    }
    inside = package.working_directory(folder / "lab", folder / "runs")
    assert names(inside) == {"__init__.py"}  # the rules of the folder above hold below it


def test_where_git_cannot_say_what_it_ignores_nothing_is_sent(folder):
    (folder / ".git/HEAD").write_text("no head")
    for place in (folder, folder / "lab"):
        with pytest.raises(RecipeError, match="git does not say") as refused:
            package.working_directory(place, folder / "runs")
        assert "fatal: " in refused.value.where


def test_keys_and_tokens_stay(tmp_path):
    secrets = (
        *(".ssh/config", ".aws/credentials", ".gnupg/ring", ".kube/config", ".git-credentials", ".pypirc"),
        *(".env.local", "host.PEM", "tls.key", "id_rsa", "id_ed25519", "deep/er/ray-token"),
    )
    for name in (*secrets, "tokens.py", "environment.md", "id_rsa.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(package.working_directory(tmp_path, tmp_path / "runs")) == {
        *("tokens.py", "environment.md", "id_rsa.py")
    }


def test_the_same_files_are_the_same_package(folder):
    before = package.working_directory(folder, folder / "runs")
    os.utime(folder / "train.py", (0, 0))
    assert package.working_directory(folder, folder / "runs").uri == before.uri
    (folder / "train.py").write_text("other")
    assert package.working_directory(folder, folder / "runs").uri != before.uri


def test_nothing_to_send(tmp_path):
    (tmp_path / "events.h5").write_text("")
    assert package.working_directory(tmp_path, tmp_path / "runs") is None


def test_above_100_mb_it_warns_and_above_what_ray_takes_it_refuses(folder, monkeypatch):
    with (folder / "large.txt").open("wb") as file:
        file.truncate(101_000_000)  # of zeros: packed it is small
    (warning,) = package.working_directory(folder, folder / "runs").warnings
    assert "101 MB" in warning
    assert "large.txt (101.0 MB)" in warning

    (folder / "large.txt").write_bytes(os.urandom(2_000_000))
    monkeypatch.setattr(package, "LARGEST", 1_000_000)
    with pytest.raises(RecipeError, match=r"too large to be sent") as refused:
        package.working_directory(folder, folder / "runs")
    assert "large.txt (2.0 MB)" in refused.value.where
    assert ".gitignore" in refused.value.fix


def test_a_plugin_of_a_local_folder_is_found_where_its_package_is_unpacked(tmp_path):
    """As on another machine: the submitter's folders are not on the path there."""
    source, site, there = (tmp_path / name for name in ("source", "site", "there"))
    (source / "hepfm_far").mkdir(parents=True)
    (source / "hepfm_far/__init__.py").write_text("HEPFM_API = (1, 0)\nfrom hepfm_far import inner\n")
    (source / "hepfm_far/inner.py").write_text("")
    (source / "hepfm_one.py").write_text("HEPFM_API = (1, 0)\n")
    for name, url in (("far", f"file://{source}"), ("one", f"file://{source}"), ("wheel", None)):
        about = site / f"hepfm_{name}-1.5.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hepfm-{name}\nVersion: 1.5\n")
        (about / "entry_points.txt").write_text(f"[hepfm]\n{name} = hepfm_{name}\n")
        if url:
            (about / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))
    pack = f"""
from pathlib import Path
from hepfm.jobs.package import local_plugins
Path({str(tmp_path / "plugins.zip")!r}).write_bytes(local_plugins().content)
"""
    paths = os.pathsep.join((str(site), str(source)))
    subprocess.run([sys.executable, "-c", pack], check=True, env=os.environ | {"PYTHONPATH": paths})
    zipfile.ZipFile(tmp_path / "plugins.zip").extractall(there)

    look = """
from hepfm.plugins import plugins
print([(i.name, i.version, i.status) for i in plugins().infos if i.distribution != "hepfm"])
"""
    said = subprocess.run(
        [sys.executable, "-c", look],
        check=True,
        env=os.environ | {"PYTHONPATH": str(there)},
        capture_output=True,
    )
    assert said.stdout.decode().strip() == "[('far', '1.5', 'ok'), ('one', '1.5', 'ok')]"


def test_hepfm_itself_does_not_travel():
    assert "hepfm" not in [distribution.name for distribution in package.local_distributions()]
