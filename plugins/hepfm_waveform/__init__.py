"""Raw charge and light waveforms: samples of channels over time.

A part of the kind ``waveform`` has a table ``samples`` (primary) with a column ``adc``, and a table
``traces`` with a row for each run of samples of one channel: ``channel``, ``n_samples`` (lengths of
``samples``), ``start_tick``, and what else is known of the channel, such as ``pedestal_adc``. Its attributes
say ``sample_ns``. A dense frame has one trace for each channel, a zero-suppressed one has its regions.
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
def hepfm_readers() -> list[api.ReaderSpec]:
    hdf5 = (".h5", ".hdf5")
    return [
        api.ReaderSpec(
            name="wirecell",
            target="hepfm_waveform.wirecell:WirecellReader",
            summary="WireCell frames (frame_*, channels_*, tickinfo_*, chanmask_*) in a zip or tar archive.",
            suffixes=(".zip", ".npz", ".tar", ".tgz", ".gz", ".bz2", ".xz"),
        ),
        api.ReaderSpec(
            name="legend",
            target="hepfm_waveform.legend:LegendReader",
            summary="LEGEND's raw tier (lh5), with the hit tier as truth.",
            suffixes=(".lh5", *hdf5),
        ),
        api.ReaderSpec(
            name="next",
            target="hepfm_waveform.next:NextReader",
            summary="NEXT raw waveforms of photomultipliers and SiPMs (RD/pmtrwf, RD/sipmrwf).",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="larndsim",
            target="hepfm_waveform.larndsim:LarndsimReader",
            summary="larnd-sim's light waveforms (light_wvfm), with the true photocurrent.",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="goop",
            target="hepfm_waveform.goop:GoopReader",
            summary="goop's light waveforms (event_N/label_K), with their photoelectrons.",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="jaxtpc",
            target="hepfm_waveform.jaxtpc:JaxtpcReader",
            summary="JAXTPC's sensor files of wires (event_N/volume_V/PLANE).",
            suffixes=hdf5,
        ),
        api.ReaderSpec(
            name="array",
            target="hepfm_waveform.plain:PlainReader",
            summary="Arrays of waveforms in HDF5, .npz or .npy, described by options.",
            suffixes=(".npz", ".npy", *hdf5),
        ),
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
            ("protodune", "Hidden channels of real ProtoDUNE-HD and -VD frames: a demonstration."),
            ("protodune-planes", "Hidden planes of real ProtoDUNE-HD and -VD frames: a demonstration."),
            ("microboone-noise", "Raw noise of real MicroBooNE channels: a demonstration."),
            ("legend-light", "Real LEGEND SiPM traces of argon light: a demonstration."),
        )
    ]
