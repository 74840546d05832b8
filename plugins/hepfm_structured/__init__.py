"""Structured data: particle lists, jets and event records, as tables with a row for each object."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_modalities() -> list[api.ModalitySpec]:
    return [
        api.ModalitySpec(
            name="structured",
            target="hepfm_structured.modality:Structured",
            summary="Rows of numbers: particles, jets, hits, event records.",
        )
    ]


@api.hookimpl
def hepfm_readers() -> list[api.ReaderSpec]:
    hdf5 = (".h5", ".hdf5")
    return [
        api.ReaderSpec(
            name="root",
            target="hepfm_structured.root:RootReader",
            summary="ROOT trees: NanoAOD, JetClass, GiBUU, flat tuples, branches named in a recipe.",
            suffixes=(".root",),
        ),
        api.ReaderSpec(
            name="parquet",
            target="hepfm_structured.parquet:ParquetReader",
            summary="Parquet with columns of numbers and of lists.",
            suffixes=(".parquet", ".pq"),
        ),
        api.ReaderSpec(
            name="jetnet",
            target="hepfm_structured.jetnet:JetnetReader",
            summary="JetNet HDF5, 30 or 150 particles.",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="omnilearn",
            target="hepfm_structured.omnilearn:OmnilearnReader",
            summary="OmniLearn and OmniLearned HDF5.",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="jet-images",
            target="hepfm_structured.jet_images:JetImagesReader",
            summary="Jet images in HDF5, a dataset for each class; pixels that are not zero.",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="trackml",
            target="hepfm_structured.trackml:TrackmlReader",
            summary="Folders of TrackML CSV, plain or gzipped.",
        ),
    ]


@api.hookimpl
def hepfm_generators() -> list[api.GeneratorSpec]:
    return [
        api.GeneratorSpec(
            name="collider",
            target="hepfm_structured.collider:ColliderGenerator",
            summary="Jets of proton collisions by Pythia and FastJet (pip install 'hepfm[collider]').",
        )
    ]


@api.hookimpl
def hepfm_displays() -> list[api.DisplaySpec]:
    return [
        api.DisplaySpec(
            name="structured",
            target="hepfm_structured.display:panels",
            summary="Where objects are, and a line for each, below the one that made it.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name=f"structured/{name}",
            target=f"hepfm_structured:recipes/{name}.yaml",
            summary=summary,
        )
        for name, summary in (
            ("masked-tiny", "Masked pretraining on simulated particle records in minutes on two cores."),
            ("autoregressive-tiny", "Each particle from those before it, on simulated records, in minutes."),
        )
    ]
