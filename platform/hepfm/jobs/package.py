"""What travels with a job: the working directory, and plugins that are installed from a local folder."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, entry_points
from pathlib import Path

from hepfm.errors import RecipeError

LARGEST = 100 * 2**20
"""Bytes of a package; Ray's dashboard takes no more in one request."""

_WARN = 100_000_000
_HOPELESS = 10 * LARGEST
"""Bytes before packing, beyond which packing is not tried."""

_FOLDERS = (
    *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", ".cache"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"),
    *("mlruns", "mlartifacts"),
)
_DATA = (
    *(".h5", ".hdf5", ".root", ".larcv", ".npy", ".npz", ".parquet", ".arrow", ".tfrecord", ".lmdb"),
    *(".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".db", ".sqlite", ".pyc"),
    *(".tar", ".gz", ".zst", ".zip"),
)
_SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube"})
_SECRETS = (
    *(".env", ".env.*", ".netrc", ".pgpass", ".pypirc", ".git-credentials", "ray-token"),
    *("*.pem", "*.key", "id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"),
)


@dataclass(frozen=True)
class Package:
    """Files in one archive, named by its content.

    Attributes:
        content: The archive (zip).
        warnings: Sentences for the user.
    """

    content: bytes
    warnings: tuple[str, ...] = field(default=())

    @property
    def uri(self) -> str:
        """What Ray calls it."""
        return f"gcs://_ray_pkg_{hashlib.sha256(self.content).hexdigest()[:32]}.zip"


def working_directory(folder: Path, out: Path) -> Package | None:
    """A folder with what a job may need of it: code, recipes, small files.

    Left out: runs, data, caches, environments, secrets, links that lead out, and what git ignores.

    Args:
        folder: The working directory.
        out: The folder of runs.

    Returns:
        None where there is nothing to send.

    Raises:
        RecipeError: It is more than Ray takes, a file cannot be read, or git does not say what it ignores.
    """
    folder = folder.resolve()
    files = dict(_walk(folder, out.resolve()))
    if not files:
        return None
    try:
        sizes = {name: path.stat().st_size for name, path in files.items()}
        total = sum(sizes.values())
        content = _packed(files) if total <= _HOPELESS else b""
    except OSError as error:
        raise RecipeError(
            f"A file of the working directory cannot be read: {error.strerror}.",
            where=str(error.filename),
            fix="name it in .gitignore, or make it readable",
        ) from error
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:3]
    listed = ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in largest)
    if total > _HOPELESS or len(content) > LARGEST:
        raise RecipeError(
            f"The working directory is too large to be sent: {total / 1e6:.0f} MB; Ray takes "
            f"{LARGEST / 1e6:.0f} MB, packed.",
            where=f"{folder}; the largest: {listed}",
            fix="submit from the folder of your code, or name what is not needed in .gitignore",
        )
    warnings: tuple[str, ...] = ()
    if total > _WARN:
        warnings = (f"the working directory has {total / 1e6:.0f} MB to send; the largest: {listed}",)
    return Package(content, warnings)


def local_plugins() -> Package | None:
    """Plugins that are installed from a folder of this machine, as they would be installed elsewhere.

    Their packages and metadata are found where the archive is on the path; their dependencies are not in it.

    Raises:
        RecipeError: They are more than Ray takes.
    """
    files: dict[str, Path | str] = {}
    for distribution in local_distributions():
        entries = distribution.entry_points.select(group="hepfm")
        for module in {entry.module.partition(".")[0] for entry in entries}:
            files |= _module(module)
        about = f"{distribution.name.replace('-', '_')}-{distribution.version}.dist-info"
        for name in ("METADATA", "entry_points.txt"):
            files[f"{about}/{name}"] = distribution.read_text(name) or ""
    if not files:
        return None
    package = Package(_packed(files))
    if len(package.content) > LARGEST:
        raise RecipeError(
            f"The plugins that are installed from a folder have {len(package.content) / 1e6:.0f} MB, packed; "
            f"Ray takes {LARGEST / 1e6:.0f} MB.",
            where=", ".join(distribution.name for distribution in local_distributions()),
            fix="install them on the cluster's nodes, and here from the same wheel",
        )
    return package


def local_distributions() -> list[Distribution]:
    """Distributions with plugins, but for hepfm's own, that are installed from a folder of this machine."""
    found = {}
    for entry in entry_points(group="hepfm"):
        if entry.dist is not None and entry.dist.name != "hepfm":
            origin = json.loads(entry.dist.read_text("direct_url.json") or "{}")
            if str(origin.get("url", "")).startswith("file:"):
                found[entry.dist.name] = entry.dist
    return [found[name] for name in sorted(found)]


def _module(name: str) -> dict[str, Path]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return {}  # a broken plugin: `hepfm plugin list` says so
    if not spec.submodule_search_locations:
        return {} if spec.origin is None else {Path(spec.origin).name: Path(spec.origin)}
    return {
        f"{name}/{path.relative_to(root).as_posix()}": path
        for root in map(Path, spec.submodule_search_locations)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _walk(folder: Path, out: Path) -> Iterator[tuple[str, Path]]:
    ignored = _ignored_by_git(folder)
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [
            name
            for name in sorted(folders)
            if name not in _FOLDERS
            and name not in _SECRET_FOLDERS
            and here / name != out
            and not (here / name / "run.json").exists()
            and f"{(here / name).relative_to(folder).as_posix()}/" not in ignored
        ]
        for name in sorted(files):
            path = here / name
            inside = path.relative_to(folder).as_posix()
            secret = any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _SECRETS)
            left_out = inside in ignored or secret or name.lower().endswith(_DATA)
            if not left_out and path.is_file() and path.resolve().is_relative_to(folder):
                yield inside, path


def _ignored_by_git(folder: Path) -> set[str]:
    """Paths that git ignores, folders with a slash at their end; none outside of a repository."""
    listing = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"]
    command = ["git", "-C", str(folder), *listing]
    if not any(map(_is_repository, (folder, *folder.parents))):
        return set()
    try:
        said = subprocess.run(  # noqa: S603
            command,
            check=True,
            capture_output=True,
            timeout=60,
            env=os.environ | {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "1"},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        words = os.fsdecode(getattr(error, "stderr", None) or b"").strip()
        raise RecipeError(
            "git does not say what it ignores, and what it ignores is not to be sent.",
            where=f"{folder}: {words or error}",
            fix="do what git says; or submit from a folder that is in no repository",
        ) from error
    return set(os.fsdecode(said).split("\0"))


def _is_repository(folder: Path) -> bool:
    return os.path.isfile(folder / ".git") or os.path.exists(folder / ".git" / "HEAD")  # noqa: PTH110, PTH113  may be closed


def _packed(files: dict[str, Path | str] | dict[str, Path]) -> bytes:
    """The same bytes for the same files, so that what the cluster has is not sent again."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files):
            source = files[name]
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, source.read_bytes() if isinstance(source, Path) else source)
    return archive.getvalue()
