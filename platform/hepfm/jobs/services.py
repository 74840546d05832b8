"""Local services of a folder of runs: a Ray head that takes jobs, and MLflow's server."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hepfm.data.local_ray import scratch
from hepfm.errors import HepfmError, RecipeError
from hepfm.jobs import head, processes
from hepfm.jobs.client import is_local
from hepfm.locks import locked
from hepfm.tracking import server
from hepfm.tracking.files import replace
from hepfm.tracking.store import connect, database, store_uri, without_secrets

RAY, MLFLOW = "Ray", "MLflow"

_START_S = 120.0
_GRACE_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Service:
    """A service that was started.

    Attributes:
        name: ``Ray`` or ``MLflow``.
        url: Where a browser finds it.
        address: Where programs do: ``127.0.0.1:6379`` for Ray's drivers; else the URL.
        log: The file with what it says.
        folder: The folder of its own files, which goes with it; "" where it has none.
        leader: Its first process.
    """

    name: str
    url: str
    address: str
    log: str
    folder: str
    leader: processes.Leader

    @property
    def alive(self) -> bool:
        return self.leader.alive

    def answers(self) -> bool:
        """Whether it does its work, asked over HTTP; takes at most a second or two."""
        return self.alive and (head.answers(self.url) if self.name == RAY else server.answers(self.url))


@dataclass(frozen=True)
class Services:
    """What was started for a folder of runs.

    Attributes:
        out: The folder.
        services: Ray's head, and MLflow's server.
        elsewhere: The MLflow server that ``MLFLOW_TRACKING_URI`` named, instead of one of our own; else "".
    """

    out: Path
    services: tuple[Service, ...]
    elsewhere: str = ""

    @property
    def ray(self) -> Service | None:
        return next((service for service in self.services if service.name == RAY), None)

    @property
    def ray_dashboard(self) -> str:
        """``http://127.0.0.1:8265``: the dashboard, which takes jobs."""
        return self.ray.url if self.ray else ""

    @property
    def ray_address(self) -> str:
        """``127.0.0.1:6379``: what ``ray.init`` takes."""
        return self.ray.address if self.ray else ""

    @property
    def mlflow(self) -> str:
        """``http://127.0.0.1:5000``: MLflow's pages."""
        return self.elsewhere or next(
            (service.url for service in self.services if service.name == MLFLOW), ""
        )


def recorded(out: Path) -> Services | None:
    """The services that were started for a folder and not ended, alive or not.

    Raises:
        HepfmError: They are another user's, were started on another machine, or the note of them is damaged.
    """
    path = _state(out)
    try:
        content = json.loads(_own_note(path))
        there = content["machine"]["host"]
        services = tuple(
            Service(**service | {"leader": processes.Leader(**service["leader"])})
            for service in content["services"]
        )
        if not all(map(_plausible, services)):
            raise ValueError("it names a folder or an address that hepfm up never uses")  # noqa: TRY301
        found = Services(out.resolve(), services, content["elsewhere"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HepfmError(
            "what was noted of this folder's services cannot be read",
            where=f"{path}: {error}",
            fix="remove the file, and end what still runs: ps -ef shows it",
        ) from error
    here = processes.machine()
    if there != here["host"]:
        raise HepfmError(
            f"the services of this folder were started on {there}; this is {here['host']}",
            where=str(path),
            fix="give the command there; where that machine is no more, remove the file",
        )
    # Booted since: the pids are others' now.
    return found if content["machine"] == here else None


def _own_note(path: Path) -> bytes:
    """The note's content; whoever could write it could have folders removed and processes ended."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid == os.getuid() and not about.st_mode & 0o022:
                return file.read()
        ours = about.st_uid == os.getuid()
        cause = "others may write it" if ours else f"it belongs to {path.owner()}"
    except FileNotFoundError:
        raise
    except (OSError, KeyError) as error:  # KeyError: an owner without a name
        cause = getattr(error, "strerror", None) or "it belongs to another user"
        with suppress(OSError, KeyError):
            cause += f"; it belongs to {path.owner()}"
    raise HepfmError(
        "the services of this folder may be another user's, and are left alone",
        where=f"{path}: {cause}",
        fix="give the cluster's --address; or name a folder of your own with --runs",
    )


def _plausible(service: Service) -> bool:
    """Whether its folder is one of `head.make_folder`, wherever TMPDIR was, and its pages are here."""
    folder = Path(service.folder)
    inside = folder.is_absolute() and ".." not in folder.parts and folder.parent.name == scratch().name
    return is_local(service.url) and (inside or not service.folder)


def running(out: Path) -> Services | None:
    """The services of a folder, if its Ray head lives.

    Raises:
        HepfmError: They were started on another machine.
    """
    services = recorded(out)
    return services if services and services.ray and services.ray.alive else None


def start(
    out: Path,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    ray_port: int = 6379,
    dashboard_port: int = 8265,
    mlflow_port: int = 5000,
    say: Callable[[str], None] = lambda _: None,
) -> Services:
    """Starts those services of a folder that do not run, and waits until all answer.

    Args:
        out: The folder of runs, made where it is missing.
        cpus: Cores that Ray offers; None for those that this process may use.
        gpus: GPUs that Ray offers; None for all.
        ray_port: Where Ray takes drivers.
        dashboard_port: Where Ray's dashboard is, which takes jobs.
        mlflow_port: Where MLflow is.
        say: Is told what happens, in sentences.

    Raises:
        RecipeError: A port is in use.
        HepfmError: A service did not start, with what it said; what was started before it has been ended.
    """
    out = out.resolve()
    uri = store_uri(out)
    elsewhere = uri.startswith(("http://", "https://"))
    ports = {RAY: {"--ray-port": ray_port, "--dashboard-port": dashboard_port}}
    ports |= {} if elsewhere else {MLFLOW: {"--mlflow-port": mlflow_port}}
    with _locked(out) as logs:
        living = _living(out, say)
        missing = [name for name in ports if name not in {service.name for service in living}]
        for name in missing:
            for option, port in ports[name].items():
                server.check_port(head.HOST, port, option)
        services = Services(out, living, without_secrets(uri) if elsewhere else "")
        try:
            for name in missing:
                say(f"Starting {name} ...")
                if name == RAY:
                    service = _start_ray(logs / "ray.log", cpus, gpus, ray_port, dashboard_port)
                else:
                    service = _start_mlflow(logs / "mlflow.log", uri, mlflow_port)
                services = dataclasses.replace(services, services=(*services.services, service))
                _write(services)
            _wait(services)
        except BaseException:
            for service in services.services:
                if service not in living:
                    _end(service)
            _write(dataclasses.replace(services, services=living))
            raise
    return services


def stop(out: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Ends the services of a folder with all their processes, and nothing else.

    Args:
        out: The folder of runs.
        say: Is told what happens, in sentences.

    Raises:
        HepfmError: They were started on another machine, or a process does not end.
    """
    out = out.resolve()
    with _locked(out):
        services = recorded(out)
        for service in services.services if services else ():
            say(f"Ending {service.name} ...")
            _end(service)
        _state(out).unlink(missing_ok=True)


def _start_ray(log: Path, cpus: int | None, gpus: int | None, port: int, dashboard_port: int) -> Service:
    folder = head.make_folder()
    leader = head.start(folder, log, cpus=cpus, gpus=gpus, port=port, dashboard_port=dashboard_port)
    url = f"http://{head.HOST}:{dashboard_port}"
    return Service(RAY, url, f"{head.HOST}:{port}", str(log), str(folder), leader)


def _start_mlflow(log: Path, uri: str, port: int) -> Service:
    file = database(uri)
    if file and not file.exists():
        connect(uri)  # makes it, while runs that start now wait
    leader = processes.start(*server.server_command(uri, head.HOST, port), log)
    url = f"http://{head.HOST}:{port}"
    return Service(MLFLOW, url, url, str(log), "", leader)


def _wait(services: Services) -> None:
    """Waits until all answer; `HepfmError` where one ended or says nothing."""
    deadline = time.monotonic() + _START_S
    waiting = list(services.services)
    while waiting:
        for service in waiting:
            late = time.monotonic() > deadline
            if late or not service.alive:
                lines = Path(service.log).read_text(errors="replace").splitlines()
                raise HepfmError(
                    f"{service.name} does not answer after {_START_S:.0f} s"
                    if late
                    else f"{service.name} did not start",
                    where=f"{service.log} has what it said",
                    fix="; ".join(filter(str.strip, lines[-4:])) or "it said nothing",
                )
        waiting = [service for service in waiting if not service.answers()]
        time.sleep(_POLL_S if waiting else 0)


def _living(out: Path, say: Callable[[str], None]) -> tuple[Service, ...]:
    """The services that live. What is left of others is ended and removed, but for what they said."""
    services = recorded(out)
    if services is None:
        if _state(out).exists():
            say("The services ended when this machine was booted.")
        return ()
    for service in services.services:
        if not service.alive:
            old = f"{service.log}.old"
            with suppress(FileNotFoundError):
                Path(service.log).replace(old)
            say(f"{service.name} has ended by itself; what it said last is in {old}")
            _end(service)
    return tuple(service for service in services.services if service.alive)


def _end(service: Service) -> None:
    service.leader.end(_GRACE_S)
    if left := service.leader.members():
        raise HepfmError(
            f"{len(left)} processes of {service.name} do not end, though they were killed",
            where=", ".join(f"{process.name()} ({process.pid})" for process in left),
            fix="they wait for a device or a file system; try again: hepfm down",
        )
    if service.folder:
        shutil.rmtree(service.folder, ignore_errors=True)


def _state(out: Path) -> Path:
    return out / "services.json"


def _write(services: Services) -> None:
    path = _state(services.out)
    if not services.services:
        path.unlink(missing_ok=True)
        return
    content = {
        "machine": processes.machine(),
        "services": [asdict(service) for service in services.services],
        "elsewhere": services.elsewhere,
    }
    replace(path, json.dumps(content, indent=2).encode() + b"\n")
    path.chmod(0o600)


@contextmanager
def _locked(out: Path) -> Iterator[Path]:
    """One command at a time starts or ends services of a folder; gives the folder of what they say."""
    logs = out / "services"
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs.chmod(0o700)
    except OSError as error:
        raise RecipeError(
            f"the folder of the services' logs cannot be made: {error.strerror}",
            where=str(logs),
            fix="name a folder that can be written with --runs",
        ) from error
    with locked(logs / "lock"):
        yield logs
