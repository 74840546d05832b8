"""Raw charge and light waveforms: samples of channels over time.

A part of the kind ``waveform`` has a table ``samples`` (primary) with a column ``adc``, and a table
``traces`` with a row for each run of samples of one channel: ``channel``, ``n_samples`` (lengths of
``samples``), ``start_tick``, ``pedestal_adc``, and what else is known of the channel. Its attributes say
``sample_ns``. A dense frame has one trace for each channel, a zero-suppressed one has its regions.
"""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_modalities() -> list[api.ModalitySpec]:
    return [
        api.ModalitySpec(
            name="waveform",
            target="hepfm_waveform.modality:Waveform",
            summary="Samples of channels over time, cut into patches: charge and light.",
        )
    ]


@api.hookimpl
def hepfm_displays() -> list[api.DisplaySpec]:
    return [
        api.DisplaySpec(
            name="waveform",
            target="hepfm_waveform.display:panels",
            summary="Planes of many channels as pictures over time, few channels as curves.",
        )
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(
            name=f"waveform/{name}",
            target=f"hepfm_waveform:recipes/{name}.yaml",
            summary=summary,
        )
        for name, summary in (
            ("masked-tiny", "Masked pretraining on simulated wire charge in minutes on two cores."),
            ("masked-tiny-light", "Masked pretraining on simulated light in minutes on two cores."),
        )
    ]
