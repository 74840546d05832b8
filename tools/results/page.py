# ruff: noqa: INP001
"""The tables of docs/results.md, from the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

CLASSES = ("shower", "track", "Michel", "delta", "LED")


def tables(figures: Mapping[str, Any]) -> Iterator[str]:
    """Each table of the page, as it stands there."""
    yield from geant4(figures["geant4"])
    runs = [
        *figures["protodune"].values(),
        *(figures[name] for name in ("microboone", "legend", "gibuu", "dimuons")),
    ]
    yield table(
        [
            "recipe",
            "events",
            "held out",
            "steps",
            "processor time [min]",
            "validation loss",
            "learning nothing",
        ],
        (
            [
                f"`{run['recipe']}`",
                run["training_events"],
                run["held_out_events"],
                run["steps"],
                f"{run['processor_minutes']:.1f}",
                f"{run['validation_loss']:.3f}",
                f"{run['validation_loss_without_learning']:.3f}",
            ]
            for run in runs
        ),
    )
    yield table(
        ["hidden", "detector", "rule", "rule, fitted", "model"],
        (
            [f"{by}s", detector, *(between(of[way]) for way in ("rule", "fitted rule", "model"))]
            for by, run in figures["protodune"].items()
            for detector, of in run["error"].items()
        ),
    )
    accuracy = figures["microboone"]["accuracy"]
    yield table(["features", "windows told right"], ([name, between(of)] for name, of in accuracy.items()))
    yield table(
        ["error over that of the added noise", "all samples", "samples of pulses"],
        (
            [name, between(of["all samples"]), between(of["samples of pulses"])]
            for name, of in figures["legend"]["denoising"]["error"].items()
        ),
    )
    light = figures["legend"]["photoelectrons"]
    yield table(
        ["photoelectrons", "of three pulses", "correlation", "mean distance without light"],
        [
            ["hit tier", ", ".join(f"{value:.2f}" for value in light["hit_tier"]), "", ""],
            *(
                [
                    name,
                    ", ".join(f"{value:.2f}" for value in of["with_light"]),
                    between(of["correlation"]),
                    between(of["off_without_light"]),
                ]
                for name, of in light["ways"].items()
            ),
        ],
    )
    yield table(
        ["hidden field", "loss [nats]", "learning nothing"],
        (
            [f"{field} ({name})", f"{learned:.2f}", f"{nothing:.2f}"]
            for key, name in (("gibuu", "GiBUU"), ("dimuons", "CMS"))
            for field, (learned, nothing) in figures[key]["fields"].items()
            if nothing > 0.1  # what always has one value teaches nothing
        ),
    )
    yield table(
        ["features", "told right", "mean over processes"],
        (
            [name, between(of["right"]), between(of["mean over processes"])]
            for name, of in figures["gibuu"]["accuracy"].items()
        ),
    )
    error = figures["dimuons"]["mass_error"]
    yield table(
        ["features", "squared error of log(mass)"], ([name, between(of)] for name, of in error.items())
    )


def geant4(figures: Mapping[str, Any]) -> Iterator[str]:
    """Tables of the Geant4 sample: classes of voxels, and particles."""
    fewer, few, everything, probe = (figures[name] for name in ("fewer", "few", "all", "probe"))
    longer = figures["longer"]
    trained = (
        ("30", "1000 updates", fewer, longer["fewer"], "1000"),
        ("100", "1000 updates", few, longer["few"], "1000"),
        ("100", "at its best of 3000", few, longer["few"], "converged-3000"),
        ("1000", "2500 updates", everything, {}, "2500"),
    )
    after, late = (f"{of['steps']:,} steps" for of in (figures, longer))
    rows = [
        ("linear probe of the untrained model", "150", probe["untrained"]),
        (f"linear probe, pretrained {after}", "150", probe["pretrained"]),
        (f"linear probe, pretrained {late}", "150", longer["probe"]["pretrained"]),
        *(
            (f"{arm}, {length}", labels, of[f"{name}-{updates}"])
            for labels, length, short, long, updates in trained
            for arm, of, name in (
                ("from scratch", short, "scratch"),
                (f"pretrained {after}", short, "pretrained"),
                (f"pretrained {late}", long, "pretrained"),
            )
            if of
        ),
    ]
    yield table(
        ["", "labelled events", "macro F1", *CLASSES],
        (
            [way, labels, between(of["macro_f1"]), *(f"{of[f'f1/{name}'][0]:.2f}" for name in CLASSES)]
            for way, labels, of in rows
        ),
    )
    yield table(
        ["labelled events", f"what {after} of pretraining add to macro F1", f"what {late} add"],
        (
            [
                f"{labels}, {length}",
                *(between(of[f"gain-{updates}"]["macro_f1"]) if of else "" for of in (short, long)),
            ]
            for labels, length, short, long, updates in trained
        ),
    )
    names = ("ari", "f1", "pq", "pq_class", "purity", "efficiency", "energy_bias", "energy_rms")
    particles = figures["particles"]
    yield table(
        ["figure of `particles`", "value"], ([f"`{name}`", between(particles[name])] for name in names)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def between(figure: Sequence[float]) -> str:
    """A figure with the ends of its interval, to three digits."""
    value, low, high = figure
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
