"""A plugin whose components are nothing but their options; it is installed by putting its folder on sys.path."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_modalities() -> list[api.ModalitySpec]:
    return [api.ModalitySpec(name="toy-image", target="hepfm_toy.parts:Image")]


@api.hookimpl
def hepfm_backbones() -> list[api.BackboneSpec]:
    return [
        api.BackboneSpec(name="toy-mixer", target="hepfm_toy.parts:Mixer"),
        api.BackboneSpec(name="toy-scan", target="hepfm_toy.parts:Scan"),
        api.BackboneSpec(name="toy-bare", target="hepfm_toy.parts:Bare"),
    ]


@api.hookimpl
def hepfm_objectives() -> list[api.ObjectiveSpec]:
    return [api.ObjectiveSpec(name="toy-hide", target="hepfm_toy.parts:Hide")]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(name="toy/hide", target="hepfm_toy:recipes/hide.yaml", summary="Hides a share."),
        api.RecipeSpec(
            name="toy/hide-more", target="hepfm_toy:recipes/hide-more.yaml", summary="Hides more."
        ),
        api.RecipeSpec(name="toy/lost", target="hepfm_toy:recipes/lost.yaml"),
    ]
