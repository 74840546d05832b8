"""Addresses of Ray: what is none, does not answer, wants another token or has other versions is said at once."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from hepfm.data.ray_address import address_of, answers, refuse_silent
from hepfm.errors import RecipeError

CONNECT = """
import sys, time
from hepfm.data.ray_address import connect
from hepfm.errors import RecipeError
began = time.monotonic()
try:
    new = connect(sys.argv[1], named="--address", cpus=1)
    import ray
    print("connected", new, connect(sys.argv[1], named="--address", cpus=1), ray.cluster_resources()["CPU"])
except RecipeError as error:
    print(f"refused after {time.monotonic() - began:.0f} s\\n{error}")
"""


def test_an_address_is_the_one_given_else_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:1")
    assert address_of("other:2") == "other:2"
    assert address_of(None) == "head:1"
    for own in ("", "local"):
        monkeypatch.setenv("RAY_ADDRESS", own)
        assert address_of(None) is None
        refuse_silent(None, named="--address")


def test_what_listens_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
        refuse_silent(address, named="--address")
    assert not answers(address)
    assert not answers("127.0.0.1:none")
    assert not answers("127.0.0.1:99999")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "No Ray cluster answers at '127.0.0.1:9': nothing listens there."),
        ("127.0.0.1:ray", "nothing listens there"),
        ("http://127.0.0.1:8265", "hepfm submit --address http://127.0.0.1:8265"),
        ("ray://127.0.0.1:10001", "is not an address that a program connects to"),
    ],
)
def test_where_no_ray_can_be_is_refused_with_what_named_it(monkeypatch, address, said):
    for given, where in ((address, "--address"), (None, "RAY_ADDRESS")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(RecipeError) as refused:
            refuse_silent(given, named="--address")
        assert said in str(refused.value)
        assert refused.value.where == where


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A Ray that wants a token, in processes of its own: its address, its token, and a second, false token."""
    folder = tmp_path_factory.mktemp("head")
    right, wrong = folder / "right", folder / "wrong"
    for token, digits in ((right, "0123456789abcdef"), (wrong, "fedcba9876543210")):
        token.touch(mode=0o600)
        token.write_text(digits * 4)
    code = (
        "import sys; from ray.cluster_utils import Cluster\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False})\n"
        "print(cluster.address, flush=True); sys.stdin.read(); cluster.shutdown()"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment(right),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines = iter(process.stdout.readline, "")
    address = next(line.strip() for line in lines if line.count(":") == 1 and line.strip()[-1].isdigit())
    yield address, right, wrong
    process.communicate("", timeout=60)


def environment(token: Path | None) -> dict[str, str]:
    mine = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    if token is None:
        return mine | {"RAY_py_gcs_connect_timeout_s": "5"}  # where Ray waits for 30
    return mine | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def connected(address, token, cache, code=CONNECT):
    """What a process of its own finds there, whose user has no Ray of hepfm's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, address],
        env=environment(token) | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.ray
def test_a_ray_that_answers_is_connected_to_once(head, tmp_path):
    address, right, _ = head
    assert "connected True False 1.0" in connected(address, right, tmp_path)


@pytest.mark.ray
@pytest.mark.parametrize("token", ["wrong", "none", "missing"])
def test_another_token_is_refused_at_once_with_what_to_set(head, tmp_path, token):
    address, _, wrong = head
    given = {"wrong": wrong, "none": None, "missing": tmp_path / "missing"}[token]
    said = connected(address, given, tmp_path)
    sentence = "wants a token, and there is none" if given is None else f"does not take the token of {given}."
    assert sentence in said, said
    assert "RAY_AUTH_TOKEN_PATH" in said
    assert len(said.splitlines()) == 4, said
    assert int(said.split()[2]) < 30


@pytest.mark.ray
def test_another_version_is_named(head, tmp_path):
    address, right, _ = head
    code = "import ray; ray.__version__ = '1.2.3'\n" + CONNECT
    said = connected(address, right, tmp_path, code)
    python = platform.python_version()
    assert f"has Ray {version('ray')} and Python {python}; here is Ray 1.2.3 and Python {python}." in said, (
        said
    )
    assert "install the same versions" in said
    assert len(said.splitlines()) == 4, said
    assert int(said.split()[2]) < 30


@pytest.mark.ray
def test_what_listens_and_is_no_ray_is_refused_before_long(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as server:
        threading.Thread(target=_silent, args=(server,), daemon=True).start()
        said = connected(f"127.0.0.1:{server.getsockname()[1]}", None, tmp_path)
    assert "No Ray cluster answers" in said, said
    assert int(said.split()[2]) < 30


def _silent(server):
    """Takes connections, and never says a word."""
    held = []
    while True:
        try:
            held.append(server.accept())
        except OSError:
            return
