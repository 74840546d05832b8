"""``hepfm doctor``: what of this machine helps or hinders a run, each finding with its fix.

DeepSpeed, Ray and MLflow are looked up, not imported: importing them takes seconds and starts threads.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import psutil
import typer
from packaging.requirements import Requirement

from hepfm.api import Finding
from hepfm.cli.tables import console, table
from hepfm.plugins import plugins

RUNS = Path("runs")
"""Where runs go by default, seen from the working directory."""

_GIB = 1 << 30
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this machine. The exit code is 1 when an error was found."""
    findings = [*plugin_findings(), *_from_plugins()]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from rich.text import Text

        made = table("subject", "status", "found", "to do")
        for finding in findings:
            status = Text(finding.status, style=_COLOURS[finding.status])
            made.add_row(finding.subject, status, Text(finding.found), Text(finding.fix))
        console().print(made)
    if any(finding.status == "error" for finding in findings):
        raise typer.Exit(1)


def _from_plugins() -> Iterator[Finding]:
    """The findings of every registered health check; one that fails is itself a finding."""
    for spec in plugins().specs("health_checks"):
        try:
            yield from plugins().load("health_checks", spec.name)()
        except Exception as error:  # noqa: BLE001  a stranger's check may raise anything
            owner = plugins().provider("health_checks", spec.name).distribution
            yield Finding(
                subject=spec.name,
                status="error",
                found=f"the check failed: {type(error).__name__}: {error}",
                fix=f"repair or reinstall {owner}",
            )


def plugin_findings() -> Iterator[Finding]:
    """A finding for each plugin."""
    for info in plugins().infos:
        found = f"{info.distribution} {info.version}" + (f": {info.error}" if info.error else "")
        status = "error" if info.status == "error" else "ok"
        fix = (
            f"`hepfm plugin show {info.name}`; repair or uninstall {info.distribution}"
            if status == "error"
            else ""
        )
        yield Finding(subject=f"plugin {info.name}", status=status, found=found, fix=fix)


def platform_findings() -> Iterator[Finding]:
    """What the core needs: Python and packages, processor, memory, files."""
    yield Finding(
        subject="Python", status="ok", found=f"{platform.python_version()} on {platform.platform()}"
    )
    yield from package_findings(requires("hepfm") or [])
    yield from _torch()
    yield from _filters()
    yield from _memory()
    yield from folder_findings(RUNS)


def package_findings(requirements: list[str]) -> Iterator[Finding]:
    """Whether each requirement, as a distribution states it, is installed in a version that fits."""
    for wanted in map(Requirement, requirements):
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        fix = f"pip install '{wanted.name}{wanted.specifier}'"
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(subject=wanted.name, status="error", found="not installed", fix=fix)
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            found = f"{installed}, but {wanted.specifier} is needed"
            yield Finding(subject=wanted.name, status="error", found=found, fix=fix)
        else:
            yield Finding(subject=wanted.name, status="ok", found=installed)


def _torch() -> Iterator[Finding]:
    if find_spec("torch") is None:  # package_findings has said so
        return
    import torch

    from hepfm.training.model import resolve_precision

    cores = len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    more = threads > cores
    yield Finding(
        subject="torch threads",
        status="warning" if more else "ok",
        found=f"{threads} threads on {cores} cores",
        fix=f"export OMP_NUM_THREADS={cores}" if more else "",
    )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            found = f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB"
            yield Finding(subject=f"GPU {index}", status="ok", found=found)
    else:
        yield Finding(subject="GPU", status="ok", found="none; runs use the processor")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = f"a run with train.precision=auto computes in {resolve_precision('auto', device)}"
    yield Finding(subject="precision", status="ok", found=found)


def _filters() -> Iterator[Finding]:
    """Whether HDF5 finds the compression filters that stores and community files use."""
    if find_spec("h5py") is None or find_spec("hdf5plugin") is None:
        return
    import h5py
    import hdf5plugin

    filters = {"zstd": hdf5plugin.ZSTD_ID, "blosc": hdf5plugin.BLOSC_ID, "lz4": hdf5plugin.LZ4_ID}
    missing = [name for name, number in filters.items() if not h5py.h5z.filter_avail(number)]
    yield Finding(
        subject="HDF5 filters",
        status="error" if missing else "ok",
        found=f"HDF5 {h5py.version.hdf5_version}, "
        + (f"without {', '.join(missing)}" if missing else ", ".join(filters)),
        fix="pip install --force-reinstall h5py hdf5plugin" if missing else "",
    )


def _memory() -> Iterator[Finding]:
    free = psutil.virtual_memory().available / _GIB
    yield Finding(
        subject="memory",
        status="ok" if free >= 2 else "warning",
        found=f"{free:.1f} GiB available",
        fix="" if free >= 2 else "close other programs, or lower data.micro_batch_cost in the recipe",
    )
    shared = Path("/dev/shm")  # noqa: S108  the mount itself is what Ray and the loaders use
    if shared.is_dir():
        free = shutil.disk_usage(shared).free / _GIB
        yield Finding(
            subject="shared memory",
            status="ok" if free >= 1 else "warning",
            found=f"{free:.1f} GiB free in {shared}",
            fix=""
            if free >= 1
            else "mount it larger (docker run --shm-size=4g); Ray falls back to slow files",
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(
        subject="open files",
        status="ok" if soft >= 1024 else "warning",
        found=f"limit {soft}",
        fix="" if soft >= 1024 else f"ulimit -n {min(hard, 65536)}; Ray opens many sockets",
    )


def folder_findings(runs: Path) -> Iterator[Finding]:
    """Whether a folder for runs can be written, and what is free on its disk."""
    folder = runs.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        yield Finding(
            subject=str(folder), status="error", found=found, fix="choose another folder with --runs DIR"
        )
        return
    yield Finding(subject=str(folder), status="ok", found="can be written")
    free = shutil.disk_usage(existing).free / _GIB
    yield Finding(
        subject="disk",
        status="ok" if free >= 5 else "warning" if free >= 0.5 else "error",
        found=f"{free:.1f} GiB free for {folder}",
        fix="" if free >= 5 else "free some space, or choose another disk with --runs DIR",
    )
