"""Simulation of liquid-argon TPCs: one event in every modality, without Geant4."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_generators() -> list[api.GeneratorSpec]:
    return [
        api.GeneratorSpec(
            name="lartpc",
            target="hepfm_lartpc.generator:LartpcGenerator",
            summary="Liquid-argon TPC events: 3D image, charge and light waveforms, truth.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name=f"lartpc/{name}",
            target=f"hepfm_lartpc:recipes/{name}.yaml",
            summary=summary,
        )
        for name, summary in (
            (
                "joint-tiny",
                "Masked pretraining over 3D image, charge and light together, in minutes on two cores.",
            ),
            (
                "joint-truth-tiny",
                "joint-tiny with the true particles as a fourth part; runs are marked as having seen truth.",
            ),
            ("flash-tiny", "Flash matching of 3D images and light in minutes on two cores."),
        )
    ]
