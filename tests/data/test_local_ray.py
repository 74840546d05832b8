"""A Ray of our own is closed to others: token file and scratch folder are the user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hepfm.data.local_ray import init_options, own_token, token_file
from hepfm.data.ray_address import connect
from hepfm.errors import HepfmError, TrainingError


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "")  # restored after the test, whatever it sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_token_and_folder_are_private(tmp_path: Path) -> None:
    options = init_options(None, cpus=3)
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert token.is_relative_to(tmp_path)
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64
    assert Path(options["_temp_dir"]).parent.stat().st_mode & 0o777 == 0o700
    assert (options["num_cpus"], options["include_dashboard"]) == (3, False)

    first = token.read_text()
    del os.environ["RAY_AUTH_MODE"]
    init_options(None, cpus=3)
    assert token.read_text() == first, "a second run must reach what the first one started"


def test_a_running_cluster_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert init_options("ray://head:10001", cpus=3)["address"] == "ray://head:10001"
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_folder_and_token_that_others_could_read_are_closed(tmp_path: Path) -> None:
    scratch = tmp_path / f"hepfm-ray-{os.getuid()}"
    scratch.mkdir(mode=0o755)
    init_options(None, cpus=1)
    token_file().chmod(0o644)
    init_options(None, cpus=1)
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert token_file().stat().st_mode & 0o777 == 0o600


def test_only_a_ray_of_this_machine_gets_our_token() -> None:
    init_options("127.0.0.1:6379", cpus=1)
    assert "RAY_AUTH_MODE" not in os.environ, "there is none yet"
    own_token()
    init_options("10.0.0.7:6379", cpus=1)
    assert "RAY_AUTH_MODE" not in os.environ
    init_options("127.0.0.1:6379", cpus=1)
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(token_file())


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"hepfm-ray-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HepfmError, match="somebody else"):
        init_options(None, cpus=1)


def test_a_machine_that_is_too_busy_to_start_ray_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    said = "The current node timed out during startup. This could happen because some of the raylet failed"

    def too_busy(**_: object) -> None:
        raise Exception(said)  # noqa: TRY002 - as Ray 2.60 does

    monkeypatch.setattr(ray, "init", too_busy)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(TrainingError, match="--in-process"):
        connect(None, named="cluster.address", cpus=1)
