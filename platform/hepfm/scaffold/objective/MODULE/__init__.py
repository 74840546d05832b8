"""The objective NAME for hepfm: hidden units, predicted from the mean of what is seen."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_objectives() -> list[api.ObjectiveSpec]:
    return [
        api.ObjectiveSpec(
            name="NAME",
            target="MODULE.objective:CLASS",
            summary="Hide units, predict them from the mean of the others.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name="NAME/tiny",
            target="MODULE:recipes/tiny.yaml",
            summary="Pretraining with NAME on the sample that hepfm ships.",
        )
    ]
