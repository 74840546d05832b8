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
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(name="tasks/semantic", target="hepfm_tasks:recipes/semantic.yaml"),
    ]
