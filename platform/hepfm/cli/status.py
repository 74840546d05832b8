"""``hepfm status``: the local services of a folder of runs, and what runs."""

from __future__ import annotations

import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer

from hepfm.cli.launch import Runs
from hepfm.errors import HepfmError

if TYPE_CHECKING:
    from hepfm.jobs.services import Service, Services
    from hepfm.tracking.runs import RunDir

_ANSWER_S = 1.0


def status(
    *, out: Runs = Path("runs"), as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show the services of a folder of runs, and what runs. The exit code is 0 if all services are up."""
    from hepfm.jobs.services import recorded

    services = recorded(out)
    found: dict[str, Any] = {
        "out": str(out.resolve()),
        "services": [],
        "ray": None,
        "jobs": [],
        "programs": [],
    }
    if services:
        with ThreadPoolExecutor() as pool:  # they are asked at once: one that hangs costs a second
            found["services"] = list(pool.map(_service, services.services))
        with suppress(HepfmError):  # it said that it is up, and went
            found |= _cluster(services, found["services"])
    up = {service["name"] for service in found["services"] if service["status"] == "up"}
    found["up"] = services is not None and up >= {"Ray"} | ({"MLflow"} if not services.elsewhere else set())
    found["runs"] = _runs(out)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo("\n".join(_lines(found, out)))
    if not found["up"]:
        raise typer.Exit(1)


def _service(service: Service) -> dict[str, Any]:
    state = "up" if service.answers() else "silent" if service.alive else "ended"
    pid = service.leader.pid
    return {"name": service.name, "status": state, "url": service.url, "pid": pid, "log": service.log}


def _cluster(services: Services, states_of: list[dict[str, Any]]) -> dict[str, Any]:
    """What Ray has and does; nothing where it is not up."""
    from hepfm.jobs.client import OWN, Dashboard
    from hepfm.jobs.state import states

    if not any(service["name"] == "Ray" and service["status"] == "up" for service in states_of):
        return {}
    dashboard = Dashboard(services.ray_dashboard, OWN, answer_s=_ANSWER_S)
    nodes, free = dashboard.nodes(), dashboard.free()
    total = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
    has = {f"{name.lower()}s": total[name] for name in total}
    has |= {f"{name.lower()}s_free": free.get(name, total[name]) for name in total}
    return {
        "ray": {"address": services.ray_address, "nodes": len(nodes), **has},
        "jobs": [
            {key: getattr(job, key) for key in ("name", "step", "steps", "retries", "restarts")}
            | {"status": job.status.lower()}
            for job in states(dashboard)
            if job.live
        ],
        "programs": dashboard.drivers(),
    }


def _runs(out: Path) -> list[dict[str, Any]]:
    """Name and status of each run in the folder, and whether it was shown truth; the newest first."""
    from hepfm.tracking.runs import RunDir

    runs = [RunDir(path.parent) for path in out.glob("*/run.json")]
    found: list[tuple[str, dict[str, Any]]] = []
    for run in runs:
        with suppress(OSError, ValueError, KeyError):  # being made or removed
            content = run.json()
            about: dict[str, Any] = {"name": run.name, "status": _run_status(run, content["status"])}
            about["saw_truth"] = bool((content.get("pretrain") or {}).get("saw_truth"))
            found.append((content["created"], about))
    return [about for _, about in sorted(found, key=lambda each: each[0], reverse=True)]


def _run_status(run: RunDir, noted: str) -> str:
    """As ``run.json`` has it; ``killed`` where it says running, and its process is gone."""
    if noted == "running":
        with suppress(OSError, ValueError, KeyError):
            holder = json.loads((run.path / "lock").read_bytes())
            if holder["host"] == socket.gethostname() and not psutil.pid_exists(holder["pid"]):
                return "killed"
    return noted


def _lines(found: dict[str, Any], out: Path) -> list[str]:
    option = "" if out == Path("runs") else f" --runs {out}"
    lines = []
    for service in found["services"]:
        line = f"{service['name']:<8}{service['status']:<8}{service['url']}"
        if service["status"] != "up":
            line += f"   its log: {service['log']}; hepfm up{option} starts it again"
        elif service["name"] == "Ray" and (ray := found["ray"]):
            line += f"   {ray['nodes']} node{'s' * (ray['nodes'] != 1)}; free: "
            line += (
                f"{ray['cpus_free']:g} of {ray['cpus']:g} CPUs, {ray['gpus_free']:g} of {ray['gpus']:g} GPUs"
            )
        lines.append(line)
    if not lines:
        lines.append(f"No services run for {found['out']}; hepfm up{option} starts them.")
    told = {run["name"] for run in found["runs"] if run.get("saw_truth")}
    lines += [
        f"{'Job':<8}{job['status']:<8}{job['name']}   {_progress(job)}"
        + ", saw truth" * (job["name"] in told)
        for job in found["jobs"]
    ]
    lines += [f"{'Program':<16}{command}" for command in found["programs"]]
    jobs = {job["name"] for job in found["jobs"]}
    runs = [run for run in found["runs"] if run["name"] not in jobs]
    others = Counter(run["status"] for run in runs if run["status"] != "running")
    lines += [
        f"{'Run':<8}{'running':<8}{run['name']}" + "   saw truth" * (run["name"] in told)
        for run in runs
        if run["status"] == "running"
    ]
    if others:
        ended = [run["name"] for run in runs if run["status"] != "running" and run["name"] in told]
        said = [f"{count} {status}" for status, count in sorted(others.items())]
        lines.append("Runs    " + ", ".join(said) + (f"; {len(ended)} of them saw truth" if ended else ""))
    return lines


def _progress(job: dict[str, Any]) -> str:
    """How far a job is, and what had to be started again of it."""
    said = [f"step {job['step'] or 0} of {job['steps']}"] if job["steps"] else []
    for what, count in (("training", job["retries"]), ("workers", job["restarts"])):
        if count:
            said.append(f"{what} started again {count} time{'s' * (count != 1)}")
    return ", ".join(said)
