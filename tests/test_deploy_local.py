"""The scripts of deploy/local, up to where they would start Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOCAL = Path(__file__).resolve().parent.parent / "deploy" / "local"


@pytest.fixture
def node(tmp_path):
    """Runs node.sh with an empty home folder."""

    def run(*args):
        env = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "HEPFM_PYTHON": sys.executable}
        env.pop("RAY_AUTH_TOKEN_PATH", None)
        command = ["bash", str(LOCAL / "node.sh"), *args]
        return subprocess.run(command, env=env, check=False, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("args", [(), ("start",), ("head", "more"), ("join",)])
def test_a_wrong_command_is_told_how(node, args):
    done = node(*args)
    assert done.returncode == 2
    assert "usage: node.sh head | node.sh join HEAD_ADDRESS" in done.stderr


def test_a_node_without_the_heads_token_does_not_start(node):
    done = node("join", "head.example")
    assert done.returncode == 2
    assert "there is no token at" in done.stderr
    assert "scp -p HEAD:" in done.stderr


def test_a_token_that_others_can_read_is_refused(node, tmp_path):
    token = tmp_path / ".cache" / "hepfm" / "ray-token"
    token.parent.mkdir(parents=True)
    token.write_text("secret")
    token.chmod(0o644)
    done = node("join", "head.example")
    assert done.returncode == 2
    assert "others may read the token: chmod 600" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_all_ports_of_a_node_are_fixed_and_differ():
    lines = (LOCAL / "ports.sh").read_text().splitlines()
    ports = [line.split(":=")[1].split("}")[0] for line in lines if line.startswith(": ")]
    single = [int(port) for port in ports if "-" not in port]
    ranges = [range(*map(int, port.split("-"))) for port in ports if "-" in port]
    assert len(set(single)) == len(single) == 9
    assert not any(port in each for port in single for each in ranges if each.start < 30000)


def test_a_host_that_does_not_see_the_folder_is_named_before_anything_starts(tmp_path):
    shared, hosts = tmp_path / "shared", tmp_path / "hosts"
    shared.mkdir()
    hosts.write_text("good  # the head\n\nblind\n")
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\n[ "$1" = blind ] && { echo missing; exit 0; }\nexec sh -c "$2"\n')
    ssh.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "HEPFM_SSH": str(ssh), "HEPFM_PYTHON": sys.executable}
    command = ["bash", str(LOCAL / "cluster.sh"), str(hosts), str(shared)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"blind does not see {shared}" in done.stderr
    assert not list(shared.iterdir())
    assert not (tmp_path / ".cache").exists()
