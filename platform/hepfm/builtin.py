"""What the core itself registers, through the same entry points as any plugin."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_readers() -> list[api.ReaderSpec]:
    return [
        api.ReaderSpec(
            name="store",
            target="hepfm.readers.store:StoreReader",
            summary="The hepfm event store: one HDF5 file or a folder of shards.",
        )
    ]


@api.hookimpl
def hepfm_backbones() -> list[api.BackboneSpec]:
    return [
        api.BackboneSpec(
            name="transformer",
            target="hepfm.nn.transformer:Transformer",
            summary="Packed attention with rotary positions; sizes tiny, small, base.",
        ),
        api.BackboneSpec(
            name="ssm",
            target="hepfm.nn.ssm:Ssm",
            summary="State-space scans of packed events, both ways, in linear time; sizes tiny, small, base.",
        ),
    ]


@api.hookimpl
def hepfm_objectives() -> list[api.ObjectiveSpec]:
    return [
        api.ObjectiveSpec(
            name="masked",
            target="hepfm.objectives.masked:Masked",
            summary="Hide a share of the units, predict them from the rest.",
        ),
        api.ObjectiveSpec(
            name="jepa",
            target="hepfm.objectives.jepa:Jepa",
            summary="Hide a share of the units, predict what a slow copy of the encoder makes of them.",
        ),
        api.ObjectiveSpec(
            name="contrastive",
            target="hepfm.objectives.contrastive:Contrastive",
            summary="Tell which of several events' light belongs to which charge, or any two parts.",
        ),
        api.ObjectiveSpec(
            name="task",
            target="hepfm.objectives.task:Task",
            summary="Learn a task from labels: a head, on what the encoder makes of events.",
        ),
        api.ObjectiveSpec(
            name="autoregressive",
            target="hepfm.objectives.autoregressive:Autoregressive",
            summary="Predict each unit from those before it, and where an event ends.",
        ),
    ]


@api.hookimpl
def hepfm_health_checks() -> list[api.HealthCheckSpec]:
    return [api.HealthCheckSpec(name="platform", target="hepfm.cli.doctor:platform_findings")]


@api.hookimpl
def hepfm_commands() -> list[api.CommandSpec]:
    return [
        api.CommandSpec(name=name, target=f"hepfm.cli.{name}:{target}", summary=summary)
        for name, target, summary in (
            ("pretrain", "pretrain", "Pretrain a model from a recipe."),
            ("resume", "resume", "Go on with a run from its newest complete checkpoint."),
            ("fork", "fork", "Start a child run from a run's checkpoint, with another recipe."),
            ("probe", "probe", "Fit simple models to a pretrained model's frozen features."),
            ("fewshot", "fewshot", "Draw a curve: pretrained against scratch, over labelled events."),
            ("finetune", "finetune", "Train a pretrained model on a task, with labels."),
            ("evaluate", "evaluate", "Judge a run by events that it has not seen, with intervals."),
            ("display", "display", "Draw what a run makes of an event, truth beside prediction."),
            ("predict", "predict", "Write what a run's task predicts for events, as an event store."),
            ("embed", "embed", "Write what a run's encoder makes of events, as an event store."),
            ("anomaly", "anomaly", "Score how unlike ordinary events are, with p-values and ROC areas."),
            ("register", "register", "Put a run's model into MLflow's registry, with its card."),
            ("export", "export", "Write a run's model for use elsewhere, and compare the outputs."),
            ("up", "up", "Start a Ray and MLflow on this machine, for a folder of runs."),
            ("status", "status", "Show the local services, and what runs."),
            ("down", "down", "End the local services."),
            ("submit", "submit", "Hand a recipe to a running Ray cluster, as a job."),
            ("job", "app", "See, follow, stop and resume submitted jobs."),
            ("compare", "compare", "Compare runs: figures, recipes, curves; also as one HTML page."),
            ("recipe", "app", "List, show, validate and compare recipes."),
            ("simulate", "app", "Simulate events: each generator of a plugin is a command."),
            ("data", "app", "Inspect, convert, check and split event data."),
            ("plugin", "app", "List, show and write plugins."),
            ("mlflow", "app", "Open the record of runs, and complete it."),
            ("doctor", "doctor", "Check this machine, with a fix for each finding."),
        )
    ]
