"""A Ray cluster as its dashboard shows it: what it is, what it has, and its jobs, over HTTP.

Ray's own client is not used: it has no time-outs, and follows redirections with the token.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hepfm.data.local_ray import token_file
from hepfm.errors import HepfmError, RecipeError

OWN = "hepfm up"
"""As a dashboard's origin: it wants the token of the Rays that hepfm starts, whatever the environment has."""

_UPLOAD_S = 600.0
_LISTENS = "0A"
_LOOPBACK = {
    *("0100007F", "00000000", "0" * 32),
    *("00000000000000000000000001000000", "0000000000000000FFFF00000100007F"),
}
"""Addresses where a listener takes what is sent to loopback, as /proc/net/tcp writes them."""


@dataclass(frozen=True)
class Dashboard:
    """A Ray cluster's dashboard.

    Attributes:
        address: ``http://HOST:8265`` or ``https://...``.
        origin: What gave the address, for messages: ``--address``, a variable, the local services.
        answer_s: How long an answer may take.
    """

    address: str
    origin: str = "--address"
    answer_s: float = 20.0

    def cluster(self) -> dict[str, str]:
        """The cluster's ``ray`` and ``python`` versions.

        Raises:
            RecipeError: Nothing answers, what answers is no Ray, or it wants another token.
        """
        try:
            ray = self._request("GET", "/api/version")["ray_version"]
            about = self._request("GET", "/api/v0/cluster_metadata")["data"]
        except (KeyError, TypeError, _UnexpectedError):
            raise self._wrong("What answers there is not the dashboard of a Ray cluster.") from None
        return {"ray": ray, "python": about.get("pythonVersion", "")}

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has: ``CPU``, ``GPU``, ``memory`` (bytes) and others by name."""
        answer = self._request("GET", "/api/v0/nodes?detail=1&limit=10000")
        with self._as_ray_answers():
            nodes = answer["data"]["result"]["result"]
            return [node["resources_total"] for node in nodes if node["state"] == "ALIVE"]

    def free(self) -> dict[str, float]:
        """What of all nodes together is not in use, by name as in `nodes`; some seconds old."""
        answer = self._request("GET", "/api/cluster_status")
        with self._as_ray_answers():
            report = answer["data"]["clusterStatus"] or {}
            usage = report.get("loadMetricsReport", {}).get("usage", {})
            return {name: total - used for name, (used, total) in usage.items()}

    def drivers(self) -> list[str]:
        """The commands of programs that use the cluster, and that are no jobs."""
        jobs = self._request("GET", "/api/jobs/")
        with self._as_ray_answers():
            return [
                job["entrypoint"] for job in jobs if job["type"] == "DRIVER" and job["status"] == "RUNNING"
            ]

    def jobs(self) -> list[dict[str, Any]]:
        """All submitted jobs that Ray remembers, as it describes them, the oldest first."""
        answer = self._request("GET", "/api/jobs/")
        with self._as_ray_answers():
            jobs = [job for job in answer if job["type"] == "SUBMISSION"]
            return sorted(jobs, key=lambda job: job["start_time"] or 0)

    def logs(self, job: str) -> str:
        """All that a job has printed."""
        return str(self._request("GET", f"/api/jobs/{quote(job)}/logs")["logs"])

    def stop(self, job: str) -> None:
        """Sends SIGTERM to a job; what does not end by itself is killed after a wait that the job sets."""
        self._request("POST", f"/api/jobs/{quote(job)}/stop")

    def submit(
        self, job: str, *, entrypoint: str, environment: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        """Starts a job on the cluster's head.

        Args:
            job: Its id.
            entrypoint: A shell's command.
            environment: Ray's runtime environment.
            metadata: What Ray is to remember of it.

        Raises:
            RecipeError: There is a job of this id.
        """
        content: dict[str, Any] = {"submission_id": job, "entrypoint": entrypoint}
        content |= {"runtime_env": environment, "metadata": metadata}
        try:
            self._request("POST", "/api/jobs/", json.dumps(content).encode())
        except _UnexpectedError as error:
            if "already exists" in error.said:
                raise RecipeError(
                    f"A job '{job}' was submitted a moment ago.",
                    where=self.address,
                    fix="see how it does: hepfm job list; or choose another --name",
                ) from None
            raise

    def upload(self, package: str, content: bytes) -> None:
        """Keeps a package (``gcs://NAME.zip``) on the cluster, where it is not there yet."""
        path = f"/api/packages/{package.replace('://', '/')}"
        try:
            self._request("GET", path)
        except _UnexpectedError as error:
            if error.status != http.client.NOT_FOUND:
                raise
            self._request("PUT", path, content, seconds=_UPLOAD_S)

    def _request(self, method: str, path: str, content: bytes | None = None, *, seconds: float = 0.0) -> Any:
        headers = {"Content-Type": "application/json"} if method == "POST" else {}
        if token := _token(self):
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.address + path, content, headers, method=method)  # noqa: S310  checked
        try:
            with _opener(self.address).open(request, timeout=seconds or self.answer_s) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace").strip()
            if error.code in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
                raise self._refused(error.code) from None
            raise _UnexpectedError(error.code, said, f"{method} {self.address}{path}") from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            raise self._wrong(f"No Ray cluster answers: {cause}.", UnreachableError) from None
        try:
            return json.loads(said) if said else None
        except ValueError:
            raise self._wrong("What answers there is not the dashboard of a Ray cluster.") from None

    @contextmanager
    def _as_ray_answers(self) -> Iterator[None]:
        """Within, an answer is read that is Ray's, or else `RecipeError`."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError):
            raise self._wrong("What answers there is not the dashboard of a Ray cluster.") from None

    def _wrong(self, what: str, kind: type[RecipeError] = RecipeError) -> RecipeError:
        return kind(
            what,
            where=f"{self.address} (from {self.origin})",
            fix="hepfm up starts a Ray here; hepfm status says what runs; "
            "--address takes the URL of a dashboard, http://HOST:8265",
        )

    def _refused(self, status: int) -> RecipeError:
        source = _token_source(self)
        if status == http.client.UNAUTHORIZED:
            what = "The cluster wants a token, and there is none for it here."
        else:
            what = f"The cluster does not take the token of {source}."
        return RecipeError(
            what,
            where=f"{self.address} (from {self.origin})",
            fix="put the cluster's token into a file that only you can read, and set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH=FILE",
        )


class UnreachableError(RecipeError):
    """Nothing answers at an address."""


class _UnexpectedError(HepfmError):
    """An answer that no request of ours should get."""

    def __init__(self, status: int, said: str, where: str) -> None:
        last = said.splitlines()[-1] if said else "it says nothing more"
        super().__init__(f"Ray's dashboard answers {status}: {last}", where=where, fix="see Ray's logs")
        self.status = status
        self.said = said


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirection would carry the token to wherever it leads."""

    def redirect_request(self, *_: object) -> None:
        """Follows none; the answer is an error."""


def is_local(address: str) -> bool:
    """Whether an address leads to this machine's loopback."""
    return urlsplit(address).hostname in {"127.0.0.1", "localhost", "::1"}


def _opener(address: str) -> urllib.request.OpenerDirector:
    # A proxy cannot reach our loopback.
    proxies = urllib.request.ProxyHandler({} if is_local(address) else None)
    return urllib.request.build_opener(proxies, _NoRedirect)


def _token_source(dashboard: Dashboard) -> Path | str | None:
    """Where the token for a cluster is: as Ray looks for it; else, on this machine, the one of `hepfm up`."""
    own = token_file()
    if dashboard.origin == OWN:
        return own
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(path)
    if is_local(dashboard.address) and own.is_file():
        return own
    rays = Path.home() / ".ray" / "auth_token"
    return rays if "RAY_AUTH_MODE" in os.environ and rays.is_file() else None


def _listeners(address: str) -> set[int]:
    """Ids of the users who listen on a port of this machine's loopback; none where that is not seen."""
    parts = urlsplit(address)
    port = f"{parts.port or 80:04X}"
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for row in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, user, *_ = row.split()
                host, _, listens_at = local.partition(":")
                if state == _LISTENS and listens_at == port and host in _LOOPBACK:
                    found.add(int(user))
    return found


def _token(dashboard: Dashboard) -> str:
    source = _token_source(dashboard)
    if source == token_file() and (strangers := _listeners(dashboard.address) - {0, os.getuid()}):
        raise RecipeError(
            "What listens there is another user's, and is not told the token of hepfm up.",
            where=f"{dashboard.address} (from {dashboard.origin}), user {min(strangers)}",
            fix="give the --address of a cluster of yours, with its token in RAY_AUTH_TOKEN_PATH",
        )
    try:
        token = source.read_text().strip() if isinstance(source, Path) else os.environ.get(source or "", "")
    except OSError as error:
        raise RecipeError(
            f"The file of the cluster's token cannot be read: {error.strerror}.",
            where=str(source),
            fix="correct RAY_AUTH_TOKEN_PATH",
        ) from None
    if not (token.isascii() and token.isprintable()):
        raise RecipeError("The file of the cluster's token holds no token.", where=str(source))
    return token
