"""Tasks: heads that turn what a pretrained model makes of events into physics, and their recipes."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_heads() -> list[api.HeadSpec]:
    return [
        api.HeadSpec(
            name="event-class",
            target="hepfm_tasks.event_class:EventClass",
            summary="The class of each event: its particle, interaction or jet.",
        ),
        api.HeadSpec(
            name="event-values",
            target="hepfm_tasks.event_values:EventValues",
            summary="Numbers of each event, e.g. energy or momentum, and how sure they are.",
        ),
        api.HeadSpec(
            name="sample-values",
            target="hepfm_tasks.sample_values:SampleValues",
            summary="A number of each sample of a waveform: denoised, or unfolded to charge or light.",
        ),
        api.HeadSpec(
            name="semantic",
            target="hepfm_tasks.semantic:Semantic",
            summary="The class of each point: shower, track, Michel, delta, low energy, or any other.",
        ),
        api.HeadSpec(
            name="vertex",
            target="hepfm_tasks.vertex:Vertex",
            summary="Where in the detector an event's interaction happened.",
        ),
        api.HeadSpec(
            name="particles",
            target="hepfm_tasks.particles:Particles",
            summary="Which points of an event are of one particle, what it is, and its energy.",
        ),
    ]


@api.hookimpl
def hepfm_recipes() -> list[api.RecipeSpec]:
    return [
        api.RecipeSpec(name=f"tasks/{name}", target=f"hepfm_tasks:recipes/{name}.yaml", summary=summary)
        for name, summary in (
            ("semantic", "The class of each voxel of a 3D image."),
            ("semantic-hour", "The class of each voxel, for the figures of docs/results.md."),
            ("particles", "Groups the voxels of a 3D image to particles, with class and energy."),
            ("particles-hour", "Particles, for the figures of docs/results.md."),
            ("event-class", "The species of the most energetic particle of a 3D image."),
            ("momentum", "The momentum of the most energetic particle, with its uncertainty."),
            ("vertex", "The place of an interaction in a 3D image."),
            ("denoise", "Waveforms of wires without their noise."),
            ("unfold", "The charge in each sample of the waveforms of wires."),
            ("unfold-light", "The photoelectrons in each sample of the waveforms of light sensors."),
        )
    ]
