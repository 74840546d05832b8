"""What is said of a cluster that is none, wants another token, is of another version, or has too little."""

from __future__ import annotations

import http.server
import json
import os
import platform
import subprocess
import sys
import threading
from importlib.metadata import version

import pytest

from hepfm.errors import RecipeError
from hepfm.jobs.checks import check_resources, check_versions, find_dashboard
from hepfm.jobs.client import Dashboard
from hepfm.recipe.schema import Cluster

RAY = version("ray")
PYTHON = platform.python_version()


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """An empty home, and nothing of Ray in the environment."""
    for name in (
        "RAY_ADDRESS",
        "RAY_API_SERVER_ADDRESS",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_AUTH_TOKEN_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture
def serve():
    """A server with these answers, (status, content) by path; and what it was asked, with the token."""
    servers = []

    def start(answers):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.path, self.headers.get("Authorization")))
                status, content = answers.get(self.path, (404, "no such page"))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", content)
                self.end_headers()
                self.wfile.write((content if isinstance(content, str) else json.dumps(content)).encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cluster(ray=RAY, python=PYTHON, nodes=()):
    rows = [{"state": "ALIVE", "resources_total": node} for node in nodes]
    rows.append({"state": "DEAD", "resources_total": {"CPU": 1000.0, "GPU": 1000.0}})
    return {
        "/api/version": (200, {"ray_version": ray}),
        "/api/v0/cluster_metadata": (200, {"data": {"pythonVersion": python}}),
        "/api/v0/nodes?detail=1&limit=10000": (200, {"data": {"result": {"result": rows}}}),
    }


def test_the_same_versions_are_taken(serve):
    address, _ = serve(cluster())
    check_versions(Dashboard(address))
    other_patch = ".".join([*PYTHON.split(".")[:2], "99"])
    address, _ = serve(cluster(python=other_patch))
    check_versions(Dashboard(address))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"ray": "2.1.0"}, f"Ray 2.1.0; here is {RAY}"),
        ({"python": "3.99.1"}, f"Python 3.99.1; here is {PYTHON}"),
    ],
)
def test_other_versions_are_refused(serve, other, said):
    address, _ = serve(cluster(**other))
    with pytest.raises(RecipeError) as refused:
        check_versions(Dashboard(address))
    assert said in refused.value.what
    assert address in refused.value.where


@pytest.mark.parametrize(
    "answer", [(200, "<html>hello</html>"), (404, "no"), (200, {"a": 1}), (302, "/elsewhere")]
)
def test_what_is_no_ray(serve, answer):
    address, _ = serve({"/api/version": answer})
    with pytest.raises(RecipeError, match="not the dashboard of a Ray cluster"):
        check_versions(Dashboard(address))


@pytest.mark.parametrize("content", [{"a": 1}, [1], [{"a": 1}], "7", {"data": None}])
def test_other_json_than_rays(serve, content):
    paths = ("/api/v0/nodes?detail=1&limit=10000", "/api/jobs/", "/api/cluster_status")
    address, _ = serve(dict.fromkeys(paths, (200, content)))
    dashboard = Dashboard(address)
    for ask in (dashboard.nodes, dashboard.jobs, dashboard.drivers, dashboard.free):
        with pytest.raises(RecipeError, match="not the dashboard of a Ray cluster"):
            ask()


def test_nothing_answers():
    with pytest.raises(RecipeError, match=r"No Ray cluster answers: .*refused") as refused:
        check_versions(Dashboard("http://127.0.0.1:9", "RAY_ADDRESS"))
    assert refused.value.where == "http://127.0.0.1:9 (from RAY_ADDRESS)"
    assert "hepfm up" in refused.value.fix


@pytest.mark.parametrize(
    ("status", "said"), [(401, "wants a token"), (403, "does not take the token of .*mine")]
)
def test_a_token_that_is_missing_or_wrong(serve, tmp_path, monkeypatch, status, said):
    token = tmp_path / "mine"
    token.write_text("it-is-secret\n")
    if status == 403:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    address, _ = serve({"/api/version": (status, "no")})
    with pytest.raises(RecipeError, match=said) as refused:
        check_versions(Dashboard(address))
    assert "it-is-secret" not in str(refused.value)
    assert "RAY_AUTH_TOKEN_PATH" in refused.value.fix


def test_the_token_is_sent_to_the_cluster_and_not_to_where_it_points(serve, tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("it-is-secret\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "mine"))
    elsewhere, seen = serve(cluster())
    address, asked = serve({"/api/version": (302, f"{elsewhere}/api/version")})
    with pytest.raises(RecipeError):
        check_versions(Dashboard(address))
    assert asked == [("/api/version", "Bearer it-is-secret")]
    assert seen == []


def test_the_token_of_hepfm_up_stays_on_this_machine(serve, tmp_path):
    own = tmp_path / "home/.cache/hepfm/ray-token"
    own.parent.mkdir(parents=True)
    own.write_text("of-hepfm-up")
    address, asked = serve(cluster())
    check_versions(Dashboard(address))
    assert {token for _, token in asked} == {"Bearer of-hepfm-up"}
    address, asked = serve(cluster())
    from hepfm.jobs.client import _token

    assert _token(Dashboard("http://ray.example.org:8265")) == ""


@pytest.mark.skipif(os.getuid() != 0, reason="lets another user listen")
def test_the_token_of_hepfm_up_is_not_told_to_another_user(tmp_path):
    own = tmp_path / "home/.cache/hepfm/ray-token"
    own.parent.mkdir(parents=True)
    own.write_text("of-hepfm-up")
    listen = "import os, socket, sys; os.setuid(1); s = socket.create_server(('127.0.0.1', 0)); "
    listen += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        address = f"http://127.0.0.1:{int(other.stdout.readline())}"
        with pytest.raises(RecipeError, match="another user's") as refused:
            Dashboard(address, answer_s=5.0).jobs()
        other.stdin.close()
    assert "user 1" in refused.value.where


NODES = ({"CPU": 4.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 1.0})


@pytest.mark.parametrize(
    "asked",
    [
        {"workers": 8},
        {"workers": 2, "cpus_per_worker": 4},
        {"workers": 1, "gpus_per_worker": 1},
    ],
)
def test_what_the_cluster_has_is_taken(serve, asked):
    address, _ = serve(cluster(nodes=NODES))
    check_resources(Dashboard(address), Cluster(**asked))


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        ({"workers": 9}, 8),
        ({"workers": 3, "cpus_per_worker": 3}, 2),  # 9 of 8 cores, and 2 nodes with room for one each
        ({"workers": 1, "cpus_per_worker": 5}, 0),  # 5 of 8 cores, but on no node
        ({"workers": 2, "gpus_per_worker": 1}, 1),
    ],
)
def test_more_than_the_cluster_has_is_refused_with_what_it_has(serve, asked, room):
    address, _ = serve(cluster(nodes=NODES))
    with pytest.raises(RecipeError) as refused:
        check_resources(Dashboard(address), Cluster(**asked))
    assert f"asks for {asked['workers']} workers" in refused.value.what
    assert f"the cluster has 8 CPUs, 1 GPUs on 2 nodes, room for {room}" in refused.value.what


def test_which_cluster(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="none of hepfm up runs") as refused:
        find_dashboard(None, None, tmp_path)
    assert "hepfm up starts" in refused.value.fix
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # for drivers, not for jobs
    with pytest.raises(RecipeError, match="none of hepfm up runs"):
        find_dashboard(None, "auto", tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "http://c:8265")
    assert find_dashboard(None, None, tmp_path) == Dashboard("http://c:8265", "RAY_ADDRESS")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://b/ray/")
    assert find_dashboard(None, "auto", tmp_path).address == "https://b/ray"
    assert find_dashboard(None, "http://a:1", tmp_path) == Dashboard("http://a:1", "cluster.address")
    assert find_dashboard("http://d:1", "http://a:1", tmp_path) == Dashboard("http://d:1", "--address")
    for wrong in ("head:6379", "http://[::1", "http://a:port", "http://"):
        with pytest.raises(RecipeError, match="not the URL of a dashboard"):
            find_dashboard(wrong, None, tmp_path)
