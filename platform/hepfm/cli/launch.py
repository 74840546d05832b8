"""What pretrain, resume and fork share: options, launching, following, and the closing words."""

from __future__ import annotations

import json
import os
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from hepfm.cli.progress import Follower
from hepfm.errors import RecipeError, Stopped
from hepfm.training.in_process import under_torchrun

if TYPE_CHECKING:
    from hepfm.recipe.load import Resolved
    from hepfm.recipe.schema import Recipe
    from hepfm.tracking.runs import RunDir
    from hepfm.training.request import TrainRequest

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe; may be repeated."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N|MIN:MAX",
        help="Processes that train together; 1:4 for as many as there is room for.",
    ),
]
InProcess = Annotated[bool, typer.Option("--in-process", help="Train in this process, without Ray.")]
Address = Annotated[str | None, typer.Option(help="A running Ray; by default RAY_ADDRESS, else a local one.")]


def _on_a_path(out: Path) -> Path:
    """Refuses a URL, which as a path would be a folder called ``s3:`` (docs/adr/0009)."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(out)):
        raise RecipeError(
            "Runs are stored in a folder, not at a URL.",
            where=f"--runs {out}",
            fix="name a path; on a cluster, one that all nodes mount (of a volume, Lustre, NFS)",
        )
    return out


Runs = Annotated[
    Path,
    typer.Option("--runs", "--out", metavar="DIR", help="Folder of runs (was --out).", callback=_on_a_path),
]
RunsOnly = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of runs.", callback=_on_a_path)]
"""Of commands whose ``--out`` is what they write."""
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]

_LET_GO_S = 20.0


def cluster_overrides(*, workers: str | None, in_process: bool, address: str | None) -> list[str]:
    """The flags as overrides of the recipe's ``cluster`` section."""
    if under_torchrun():
        return ["cluster.launcher=torchrun", f"cluster.workers={os.environ['WORLD_SIZE']}"]
    if in_process:
        if workers not in (None, "1"):
            raise RecipeError(
                f"--in-process is one worker; --workers {workers} needs more.",
                fix="leave one of the two out",
            )
        return ["cluster.launcher=in-process", "cluster.workers=1"]
    overrides = (
        [] if workers is None else ["cluster.launcher=ray", f"cluster.workers={workers_setting(workers)}"]
    )
    if address is not None:
        overrides += ["cluster.launcher=ray", f"cluster.address={address}"]
    return overrides


def workers_setting(text: str) -> str:
    """What ``--workers`` says, as a recipe says it."""
    few, colon, many = text.partition(":")
    numbers = [int(number) if number.isdecimal() else 0 for number in ([few, many] if colon else [few])]
    if 0 in numbers or numbers != sorted(numbers):
        raise RecipeError(
            f"--workers {text} is no number of workers.",
            fix="--workers 2, or --workers 1:4 for as many as there is room for",
        )
    return f"{{min: {numbers[0]}, max: {numbers[1]}}}" if colon else f"{numbers[0]}"


def connection(recipe: Recipe) -> AbstractContextManager[None]:
    """To a Ray that is large enough, where one is to train; to be entered before a run's folder is made.

    Raises:
        RecipeError: As `hepfm.training.ray_connection.connected`, on entering.
    """
    if recipe.cluster.launcher != "ray":
        return nullcontext()
    from hepfm.training.ray_connection import connected

    return connected(recipe.cluster)


def new_run(resolved: Resolved, out: Path, *, parent: str | None = None) -> RunDir:
    """The folder of a new run, with its recipe and where each of its values came from."""
    from hepfm.tracking.runs import create_run

    run = create_run(out.resolve(), resolved.recipe.name, resolved.yaml(), parent)
    run.origins_path.write_text(json.dumps(dict(resolved.origins), indent=2) + "\n")
    return run


def warn(resolved: Resolved) -> None:
    """Says which settings are without effect."""
    for warning in resolved.warnings:
        typer.secho(f"Warning: {warning}", fg="yellow", err=True)


def refuse_weights(resolved: Resolved, before: Resolved) -> None:
    """`RecipeError` where a run that goes on from a checkpoint is told to begin with other weights."""
    asked = resolved.recipe.model.weights
    if asked != before.recipe.model.weights:
        raise RecipeError(
            "What goes on from a checkpoint has the weights of that, whatever model.weights says.",
            where=f"model.weights={asked}",
            fix="leave it out; hepfm pretrain and finetune begin with weights that are named",
        )


def launch(request: TrainRequest, recipe: Recipe, *, as_json: bool, reporting: bool = True) -> str | None:
    """Trains, shows how it goes on standard error, and reports on standard output, unless others do.

    SIGTERM, SIGUSR1 and the first Ctrl-C ask it to stop after a checkpoint.

    Returns:
        The signal that asked it to stop after its last step, if one did.

    Raises:
        Stopped: It did so.
        HepfmError: What ended the training.
    """
    import psutil

    from hepfm.tracking.runs import RunDir
    from hepfm.training.effective import attempt
    from hepfm.training.output import output_to
    from hepfm.training.signals import noted, noting

    run = RunDir(Path(request.run_dir))
    late = None
    request = replace(request, timeout_s=60 * recipe.cluster.timeout_minutes, launched=True)
    leads = not under_torchrun() or os.environ["RANK"] == "0"
    if leads:
        _until_free(run)  # a run that lives is refused before anything of it is changed
        run.forget_stop()  # and before signals are heard: what comes from here on counts
    attempted = attempt(run, psutil.Process().create_time()) if leads else nullcontext()
    with attempted, output_to(run.log_path) as (out, err):
        console = Console(file=err, quiet=not leads)
        follower = Follower(
            run.metrics_path,
            name=run.path.name,
            steps=recipe.train.steps,
            console=console,
            begin=_beginning(request, run),
        )
        stopped = None
        try:
            with follower, noting(partial(_stop, run, recipe, follower)):
                _train(request, recipe, run, follower)
                late = noted()
        except Stopped as error:
            stopped = error
        except KeyboardInterrupt:
            saved = run.newest_checkpoint
            rest = (
                f"hepfm resume {run.path.name} goes on from {saved}"
                if saved
                else "no checkpoint was saved yet"
            )
            console.print(f"Stopped; {rest}.", highlight=False, soft_wrap=True)
            raise
        if leads:
            for damage in run.json().get("damaged_checkpoints", ()):
                console.print(f"Warning: {damage}", style="yellow", highlight=False, soft_wrap=True)
            if reporting:
                report(run, out, as_json=as_json)
    if stopped is not None:
        raise stopped
    return late


def _until_free(run: RunDir) -> None:
    """Waits for workers that outlive a killed launcher; `TrainingError` where they go on for long."""
    sentence = f"The run {run.name} is being trained already; waiting {_LET_GO_S:.0f} s for that to end ..."
    told_once = cache(partial(typer.echo, sentence, err=True))
    with run.lock(patience_s=_LET_GO_S, unless=told_once):
        pass


def _stop(run: RunDir, recipe: Recipe, follower: Follower, reason: str) -> None:
    """Says that the stop was heard, and passes it on to workers elsewhere."""
    sentence = "Stopping after the next step, with a checkpoint"
    follower.say(
        f"{sentence}; Ctrl-C again ends at once." if reason == "Ctrl-C" else f"{reason}: {sentence.lower()}."
    )
    if recipe.cluster.launcher == "ray":
        with suppress(OSError):  # where nothing can be written, training ends by itself
            run.ask_to_stop(reason)


def _train(request: TrainRequest, recipe: Recipe, run: RunDir, follower: Follower) -> None:
    if recipe.cluster.launcher == "ray":
        from hepfm.tracking.recorder import closed_at_last
        from hepfm.tracking.storage import in_words
        from hepfm.training.ray_launcher import run_on_ray

        try:
            with closed_at_last(run, recipe.tracking.uri):
                run_on_ray(request, recipe.cluster, follower.say)
        except OSError as error:
            raise in_words(error, run.path) from error
    else:
        from hepfm.training.in_process import run_in_process

        run_in_process(request)


def _beginning(request: TrainRequest, run: RunDir) -> str:
    if request.resume_from == "newest":
        return f"going on from {run.newest_checkpoint or 'the beginning'}"
    return (
        f"going on from {Path(request.resume_from).name} of the parent" if request.resume_from else "starting"
    )


def report(run: RunDir, out: TextIO, *, as_json: bool) -> None:
    """What came of a run that is done, and what can be done with it."""
    from hepfm.jobs.checks import served

    result = run.json()
    if as_json:
        out.write(json.dumps(result) + "\n")
        return
    shown = {
        "Run": near(run.path),
        "Status": result["status"] + (f" after {result['steps']} steps" if result["steps"] else ""),
        "Checkpoint": near(Path(result["checkpoint"])) if result["checkpoint"] else None,
        "Training loss": _figure(result["train_loss"]),
        "Validation loss": _figure(result["val_loss"]),
        "learning nothing": _figure(result["val_loss_baseline"]),
        "Weights": f"sha256 {result['weights_sha256']}" if result["weights_sha256"] else None,
        "MLflow": pages(served(run.path.parent)) or f"hepfm mlflow ui --runs {_quoted(run.path.parent)}",
        "Go on": f"hepfm fork {called(run)} --set train.steps={max(1, 2 * result['steps'])}"
        if result["status"] == "done"
        else f"hepfm resume {called(run)}",
    } | (_of_task(run) if result["checkpoint"] else {})
    if pending := result.get("tracking_pending"):
        shown["Not in MLflow yet"] = f"{pending} entries; hepfm mlflow sync {near(run.path)} sends them"
    out.writelines(f"{name:<18}{value}\n" for name, value in shown.items() if value is not None)


def _of_task(run: RunDir) -> dict[str, str]:
    """Of a run with a head: the figures of its last validation, and how those of a paper are had."""
    from hepfm.recipe.document import lookup, parse
    from hepfm.tracking.lines import validated

    recipe, _ = parse(run.recipe_path.read_text(encoding="utf-8"), str(run.recipe_path))
    if not lookup(recipe, ("objective", "head")):
        return {}
    step, figures = validated(run.metrics_path)
    words = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    told = {"Validation": f"{words} (step {step})"} if figures else {}
    return told | {"Evaluate": f"hepfm evaluate {called(run)} --data PATH"}


def pages(server: str) -> str:
    """The address of the runs on an MLflow server, which else opens on its pages for language models."""
    return f"{server}/#/experiments?workflowType=machine_learning" if server else ""


def called(run: RunDir) -> str:
    """A run as a command finds it from here."""
    folder = run.path.parent
    return run.path.name + ("" if folder == Path("runs").resolve() else f" --runs {_quoted(folder)}")


def _quoted(path: Path) -> str:
    return quote(str(near(path)))


def near(path: Path) -> Path:
    """The path as seen from the current folder, where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _figure(value: float | str | None) -> str | None:
    return None if value is None else f"{float(value):.4f}"  # run.json writes NaN as text
