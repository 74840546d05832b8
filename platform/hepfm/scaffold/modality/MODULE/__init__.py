"""The detector NAME for hepfm: cells of a sampling calorimeter, and showers to try them on."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_modalities() -> list[api.ModalitySpec]:
    return [
        api.ModalitySpec(
            name="NAME",
            target="MODULE.modality:CLASS",
            summary="Cells of a sampling calorimeter.",
        )
    ]


@api.hookimpl
def hepfm_generators() -> list[api.GeneratorSpec]:
    return [
        api.GeneratorSpec(
            name="NAME",
            target="MODULE.showers:Showers",
            summary="Showers in the cells of NAME.",
        )
    ]


@api.hookimpl
def hepfm_displays() -> list[api.DisplaySpec]:
    return [
        api.DisplaySpec(
            name="NAME",
            target="MODULE.display:panels",
            summary="Cells in 3D.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name="NAME/tiny",
            target="MODULE:recipes/tiny.yaml",
            summary="Masked pretraining in minutes.",
        )
    ]
