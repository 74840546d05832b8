"""Sparse 3D charge images: occupied voxels with energy and time, and their truth."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_modalities() -> list[api.ModalitySpec]:
    return [
        api.ModalitySpec(
            name="image3d",
            target="hepfm_image3d.modality:Image3D",
            summary="Sparse 3D image: voxels with energy and time, grouped into cells.",
        )
    ]


@api.hookimpl
def hepfm_readers() -> list[api.ReaderSpec]:
    return [
        api.ReaderSpec(
            name="pilarnet",
            target="hepfm_image3d.pilarnet:PilarnetReader",
            summary="PILArNet-M HDF5, versions v1, v2, v3 and v3_extra.",
            suffixes=(".h5", ".hdf5"),
        ),
        api.ReaderSpec(
            name="edepsim",
            target="hepfm_image3d.edepsim:EdepsimReader",
            summary="edep-sim and larnd-sim energy deposits (segments), voxelised.",
            suffixes=(".h5", ".hdf5"),
        ),
    ]


@api.hookimpl
def hepfm_displays() -> list[api.DisplaySpec]:
    return [
        api.DisplaySpec(
            name="image3d",
            target="hepfm_image3d.display:panels",
            summary="Voxels in 3D, coloured by energy or class.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name=f"image3d/{size}",
            target=f"hepfm_image3d:recipes/{size}.yaml",
            summary=summary,
        )
        for size, summary in (
            ("masked-tiny", "Masked pretraining in minutes on two cores."),
            ("masked-hour", "Masked pretraining in half an hour on one core, on simulated events."),
            ("masked-ssm-tiny", "Masked pretraining of a state-space model, in minutes on two cores."),
            ("masked-small", "Masked pretraining of a 384 x 12 transformer, for a GPU."),
        )
    ]
