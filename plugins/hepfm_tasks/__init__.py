"""Tasks: heads that turn what a pretrained model makes of events into physics, and their recipes."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_heads() -> list[api.HeadSpec]:
    return [
        api.HeadSpec(
            name="semantic",
            target="hepfm_tasks.semantic:Semantic",
            summary="The class of each point: shower, track, Michel, delta, low energy, or any other.",
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
        api.RecipeSpec(name="tasks/semantic", target="hepfm_tasks:recipes/semantic.yaml"),
        api.RecipeSpec(name="tasks/particles", target="hepfm_tasks:recipes/particles.yaml"),
    ]
