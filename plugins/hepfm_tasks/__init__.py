"""Tasks: heads that turn what a pretrained model makes of events into physics, and their recipes."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_heads() -> list[api.HeadSpec]:
    return [
        api.HeadSpec(
            name="event-class",
            target="hepfm_tasks.event_class:EventClass",
            summary="The class of each event: its particle, interaction or jet.",
        ),
        api.HeadSpec(
            name="event-values",
            target="hepfm_tasks.event_values:EventValues",
            summary="Numbers of each event, e.g. energy or momentum, and how sure they are.",
        ),
        api.HeadSpec(
            name="sample-values",
            target="hepfm_tasks.sample_values:SampleValues",
            summary="A number of each sample of a waveform: denoised, or unfolded to charge or light.",
        ),
        api.HeadSpec(
            name="semantic",
            target="hepfm_tasks.semantic:Semantic",
            summary="The class of each point: shower, track, Michel, delta, low energy, or any other.",
        ),
        api.HeadSpec(
            name="vertex",
            target="hepfm_tasks.vertex:Vertex",
            summary="Where in the detector an event's interaction happened.",
        ),
        api.HeadSpec(
            name="particles",
            target="hepfm_tasks.particles:Particles",
            summary="Which points of an event are of one particle, what it is, and its energy.",
        ),
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(name="tasks/denoise", target="hepfm_tasks:recipes/denoise.yaml"),
        api.RecipeSpec(name="tasks/unfold", target="hepfm_tasks:recipes/unfold.yaml"),
        api.RecipeSpec(name="tasks/unfold-light", target="hepfm_tasks:recipes/unfold-light.yaml"),
        api.RecipeSpec(name="tasks/event-class", target="hepfm_tasks:recipes/event-class.yaml"),
        api.RecipeSpec(name="tasks/momentum", target="hepfm_tasks:recipes/momentum.yaml"),
        api.RecipeSpec(name="tasks/semantic", target="hepfm_tasks:recipes/semantic.yaml"),
        api.RecipeSpec(name="tasks/semantic-hour", target="hepfm_tasks:recipes/semantic-hour.yaml"),
        api.RecipeSpec(name="tasks/vertex", target="hepfm_tasks:recipes/vertex.yaml"),
        api.RecipeSpec(name="tasks/particles", target="hepfm_tasks:recipes/particles.yaml"),
        api.RecipeSpec(name="tasks/particles-hour", target="hepfm_tasks:recipes/particles-hour.yaml"),
    ]
