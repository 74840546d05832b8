"""The generator NAME for hepfm: straight tracks in a box."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_generators() -> list[api.GeneratorSpec]:
    return [
        api.GeneratorSpec(
            name="NAME",
            target="MODULE.generator:CLASS",
            summary="Straight tracks.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name="NAME/tiny",
            target="MODULE:recipes/tiny.yaml",
            summary="Masked pretraining on events of NAME.",
        )
    ]
